"""Links of pages, as Neutron gives them: a full page has a next one, whether something is on it or not."""

from collections.abc import Sequence
from urllib.parse import urlencode

from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.http import Request


def links(request: Request, ids: Sequence[str], query: query_pb2.Query) -> list[JsonValue]:
    """Of a page with these items; from the empty one after the last, the previous one is the last."""
    full = len(ids) >= query.limit
    found = []
    if full or query.backwards:
        found.append(_link(request, "next", ids[-1:]))
    if full or not query.backwards:
        found.append(_link(request, "previous", ids[:1]))
    return found


def _link(request: Request, rel: str, marker: Sequence[str]) -> JsonValue:
    pairs = [(key, value) for key, value in request.query if key not in ("marker", "page_reverse")]
    pairs += [("marker", id_) for id_ in marker]
    if rel == "previous":
        pairs.append(("page_reverse", "True"))
    return {"rel": rel, "href": f"{request.base_url}{request.path}?{urlencode(pairs)}"}
