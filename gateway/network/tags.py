"""Networking API v2.0, section "Resource tags"."""

from collections.abc import Callable
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from gateway.core.codec import JsonValue, List
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network.resource import MAX_TAGS, PREFIX, TAG, Resource

_TRIES = 8
_TAGS = List(TAG, max=MAX_TAGS)
Change = Callable[[list[str]], list[str]]


class Tags:
    """Of one kind of resource, in their order. Changes of single tags keep what others change at the same time."""

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def routes(self) -> list[Route]:
        """Below the resource's item."""
        path = f"{PREFIX}/{self._resource.table.plural.replace('_', '-')}/{{id}}/tags"
        one = f"{path}/{{tag}}"
        return [
            Route("GET", path, self.list),
            Route("POST", path, self.add_all),
            Route("PUT", path, self.replace),
            Route("DELETE", path, self.clear),
            Route("GET", one, self.check),
            Route("PUT", one, self.add),
            Route("DELETE", one, self.remove),
        ]

    async def list(self, request: Request) -> Response:
        found = await self._resource.get(request)
        return Response(200, {"tags": list(found.meta.tags)})

    async def add_all(self, request: Request) -> Response:
        asked = _asked(request)
        changed = await self._change(request, lambda tags: sorted({*tags, *asked}))
        return Response(201, {"tags": changed})

    async def replace(self, request: Request) -> Response:
        asked = _asked(request)
        changed = await self._change(request, lambda _: asked)
        return Response(200, {"tags": changed})

    async def clear(self, request: Request) -> Response:
        await self._change(request, lambda _: [])
        return Response(204)

    async def check(self, request: Request) -> Response:
        found = await self._resource.get(request)
        _must_have(request.params["tag"], found.meta.tags)
        return Response(204)

    async def add(self, request: Request) -> Response:
        tag = TAG.from_json(request.params["tag"], "tag")
        await self._change(request, lambda tags: sorted({*tags, tag}))
        return Response(201)

    async def remove(self, request: Request) -> Response:
        tag = request.params["tag"]

        def without(tags: list[str]) -> list[str]:
            _must_have(tag, tags)
            return [other for other in tags if other != tag]

        await self._change(request, without)
        return Response(204)

    async def _change(self, request: Request, change: Change) -> JsonValue:
        resource = self._resource
        mask = FieldMask(paths=["meta.tags"])
        for attempt in range(_TRIES):
            found = await resource.get(request)
            before = list(found.meta.tags)
            wanted = change(before)
            if wanted == before:
                return before
            message: Any = resource.table.message()
            message.meta.id, message.meta.etag = found.meta.id, found.meta.etag
            message.meta.tags.extend(wanted)
            try:
                changed = await resource.change(request, message, mask)
                return list(changed.meta.tags)
            except Fault as fault:
                if fault.reason != "STALE_REVISION" or attempt + 1 == _TRIES:
                    raise
        raise AssertionError


def _asked(request: Request) -> list[str]:
    body = request.json()
    if set(body) != {"tags"}:
        raise Invalid("Invalid tags body", field="tags", reason="HTTP_BAD_REQUEST")
    return sorted(set(_TAGS.from_json(body["tags"], "tags")))


def _must_have(tag: str, tags: Any) -> None:
    if tag not in tags:
        raise Fault(404, f"Tag {tag[:255]} could not be found.", reason="TAG_NOT_FOUND")
