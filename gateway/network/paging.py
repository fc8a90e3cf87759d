"""Links of pages, as Neutron gives them: a full page has a next one, whether something is on it or not."""

from urllib.parse import urlencode

from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.http import Request


def links(request: Request, first: str, last: str, count: int, query: query_pb2.Query) -> list[JsonValue]:
    """Of a page with count items, from the id first to the id last."""
    full = count >= query.limit
    found = []
    if full or query.backwards:
        found.append(_link(request, "next", last))
    if full or not query.backwards:
        found.append(_link(request, "previous", first))
    return found


def _link(request: Request, rel: str, marker: str) -> JsonValue:
    pairs = [(key, value) for key, value in request.query if key not in ("marker", "page_reverse")]
    pairs.append(("marker", marker))
    if rel == "previous":
        pairs.append(("page_reverse", "True"))
    return {"rel": rel, "href": f"{request.base_url}{request.path}?{urlencode(pairs)}"}
