"""The links that Compute resources carry."""

from gateway.core.codec import JsonValue
from gateway.core.http import Request


def links(request: Request, kind: str, id_: str) -> JsonValue:
    """self (with the version) and bookmark (without)."""
    return [
        {"rel": "self", "href": f"{request.api_url}/v2.1/{kind}/{id_}"},
        bookmark(request, kind, id_),
    ]


def bookmark(request: Request, kind: str, id_: str) -> JsonValue:
    """The link without a version."""
    return {"rel": "bookmark", "href": f"{request.api_url}/{kind}/{id_}"}
