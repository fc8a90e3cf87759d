"""Compute API, sections "Server metadata" and "Server tags"."""

from collections.abc import Callable
from urllib.parse import quote

from fabric.compute.v1 import server_pb2 as pb
from gateway.compute import body, servers
from gateway.compute.reading import body_of, change
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route

_ITEM = body.Obj({"meta": body.METADATA}, required=["meta"])
_MOST_TAGS = 50


async def _change(request: Request, path: str, changed: Callable[[pb.Server], None]) -> pb.Server:
    return await change(
        lambda: servers.find(request), lambda server: servers.write(request, server, path), changed
    )


def _missing() -> Fault:
    return Fault(404, "Metadata item was not found", reason="METADATA_NOT_FOUND")


async def show_all(request: Request) -> Response:
    """All metadata."""
    return Response(200, {"metadata": dict((await servers.find(request)).spec.metadata)})


async def show_item(request: Request) -> Response:
    """One item."""
    key = request.params["key"]
    metadata = (await servers.find(request)).spec.metadata
    if key not in metadata:
        raise _missing()
    return Response(200, {"meta": {key: metadata[key]}})


async def merge(request: Request) -> Response:
    """Add to it and overwrite."""
    given = body_of(request, "metadata", body.METADATA)
    server = await _change(request, "spec.metadata", lambda server: server.spec.metadata.update(given))
    return Response(200, {"metadata": dict(server.spec.metadata)})


async def replace(request: Request) -> Response:
    """This and nothing else."""
    given = body_of(request, "metadata", body.METADATA)

    def changed(server: pb.Server) -> None:
        server.spec.metadata.clear()
        server.spec.metadata.update(given)

    server = await _change(request, "spec.metadata", changed)
    return Response(200, {"metadata": dict(server.spec.metadata)})


async def set_item(request: Request) -> Response:
    """One item, named twice."""
    meta = _ITEM(request.json(), "body", request.microversion)["meta"]
    key = request.params["key"]
    if len(meta) != 1:
        raise Invalid("Request body contains too many items", field="meta")
    if key not in meta:
        raise Invalid("Request body and URI mismatch", field="meta")
    await _change(request, "spec.metadata", lambda server: server.spec.metadata.update(meta))
    return Response(200, {"meta": meta})


async def delete_item(request: Request) -> Response:
    """One item."""
    key = request.params["key"]

    def changed(server: pb.Server) -> None:
        if key not in server.spec.metadata:
            raise _missing()
        del server.spec.metadata[key]

    await _change(request, "spec.metadata", changed)
    return Response(204)


# -- tags


async def tags(request: Request) -> Response:
    """All."""
    return Response(200, {"tags": list((await servers.find(request)).meta.tags)})


async def has_tag(request: Request) -> Response:
    """204 or 404."""
    server = await servers.find(request)
    if request.params["tag"] not in server.meta.tags:
        raise _no_tag(request, server)
    return Response(204)


def _no_tag(request: Request, server: pb.Server) -> Fault:
    tag = request.params["tag"]
    return Fault(404, f"Server {server.meta.id} has no tag '{tag[:60]}'", reason="TAG_NOT_FOUND")


async def replace_tags(request: Request) -> Response:
    """These and no others."""
    given = body_of(request, "tags", body.items(body.TAG, most=_MOST_TAGS))
    given = list(dict.fromkeys(given))

    def changed(server: pb.Server) -> None:
        server.meta.tags[:] = given

    await _change(request, "meta.tags", changed)
    return Response(200, {"tags": given})


async def add_tag(request: Request) -> Response:
    """201 when it is new."""
    tag = body.TAG(request.params["tag"], "tag", request.microversion)
    new = False

    def changed(server: pb.Server) -> None:
        nonlocal new
        new = tag not in server.meta.tags
        if new and len(server.meta.tags) >= _MOST_TAGS:
            raise Invalid(f"The number of tags exceeded the per-server limit {_MOST_TAGS}", field="tag")
        if new:
            server.meta.tags.append(tag)

    server = await _change(request, "meta.tags", changed)
    if not new:
        return Response(204)
    location = f"{request.api_url}/v2.1/servers/{server.meta.id}/tags/{quote(tag, safe='')}"
    return Response(201, None, {"location": location})


async def remove_tag(request: Request) -> Response:
    """404 when it is not there."""
    tag = request.params["tag"]

    def changed(server: pb.Server) -> None:
        if tag not in server.meta.tags:
            raise _no_tag(request, server)
        server.meta.tags.remove(tag)

    await _change(request, "meta.tags", changed)
    return Response(204)


async def remove_tags(request: Request) -> Response:
    """All."""
    await _change(request, "meta.tags", lambda server: server.meta.tags.__delitem__(slice(None)))
    return Response(204)


_METADATA, _TAGS = "/v2.1/servers/{server_id}/metadata", "/v2.1/servers/{server_id}/tags"
routes = [
    Route("GET", _METADATA, show_all),
    Route("POST", _METADATA, merge),
    Route("PUT", _METADATA, replace),
    Route("GET", f"{_METADATA}/{{key}}", show_item),
    Route("PUT", f"{_METADATA}/{{key}}", set_item),
    Route("DELETE", f"{_METADATA}/{{key}}", delete_item),
    Route("GET", _TAGS, tags, since="2.26"),
    Route("PUT", _TAGS, replace_tags, since="2.26"),
    Route("DELETE", _TAGS, remove_tags, since="2.26"),
    Route("GET", f"{_TAGS}/{{tag}}", has_tag, since="2.26"),
    Route("PUT", f"{_TAGS}/{{tag}}", add_tag, since="2.26"),
    Route("DELETE", f"{_TAGS}/{{tag}}", remove_tag, since="2.26"),
]
