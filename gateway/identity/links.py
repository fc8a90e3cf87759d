"""The links that resources have."""

from collections.abc import Callable
from typing import Any

from gateway.core.codec import JsonValue
from gateway.core.http import Request
from gateway.core.table import Field


def links(plural: str) -> Field:
    """links.self of a resource at /v3/<plural>/<id>."""
    return Field("links", compute=self_link(plural))


def self_link(plural: str) -> Callable[[Any, Request], JsonValue]:
    """What computes it."""

    def compute(message: Any, request: Request) -> JsonValue:
        return {"self": f"{request.api_url}/v3/{plural}/{message.meta.id}"}

    return compute
