"""Image API v2, section "Image data": bytes between clients and image agents, in constant memory."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc

from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1 import store_pb2
from fabric.image.v1.image_pb2_grpc import ImageServiceStub
from fabric.image.v1.store_pb2_grpc import ImageStoreServiceStub
from gateway.core.fault import STATUSES, Fault, Invalid, from_rpc
from gateway.core.http import Request, Response
from gateway.core.route import Route

CHUNK_BYTES = 1 << 20
MAX_SIZE = 1 << 62
_STREAM_S = 24 * 3600.0
_IDLE_S = 600.0  # a client that is silent for so long is gone
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]


def _agent(request: Request, address: str) -> Any:
    """The stub of the image agent; Any: grpc-stubs know nothing of the asyncio stubs."""
    return request.stub(ImageStoreServiceStub, address)


# -- in


async def upload(request: Request) -> Response:
    await _receive(request, stage=False)
    return Response(204)


async def stage(request: Request) -> Response:
    await _receive(request, stage=True)
    return Response(204)


async def _receive(request: Request, *, stage: bool) -> None:
    kind = request.headers.get("content-type", "application/octet-stream").partition(";")[0].strip()
    if kind != "application/octet-stream":
        raise Fault(415, f"Invalid content type {kind[:80]}: expected application/octet-stream.")
    size = _size(request)
    service = request.stub(ImageServiceStub)
    asked = pb.BeginUploadRequest(
        id=request.params["image_id"],
        stage=stage,
        store=request.headers.get("x-image-meta-store", ""),
        size_bytes=size,
    )
    begun = await request.call(service.BeginUpload, asked)
    await _send(request, begun, size)
    await request.call(service.EndUpload, pb.EndUploadRequest(id=asked.id, upload_id=begun.upload_id))


def _size(request: Request) -> int:
    """How many bytes the caller says will come; 0: not known."""
    for name in ("x-openstack-image-size", "content-length"):
        text = request.headers.get(name, "")
        if text:
            if not text.isascii() or not text.isdigit() or int(text) > MAX_SIZE:
                raise Invalid(f"The header {name} must be a number of bytes.", field=name)
            return int(text)
    return 0


async def _send(request: Request, begun: pb.BeginUploadResponse, size: int) -> None:
    """Stream the body to the agent until it has answered. Raises Fault."""
    call = _agent(request, begun.address).WriteImage(
        timeout=_STREAM_S, metadata=(("x-request-id", request.request_id),)
    )
    answer = asyncio.ensure_future(call.read())
    try:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the answer says why
            await call.write(store_pb2.WriteImageRequest(ticket=begun.ticket, size_bytes=size))
            async for data in _chunks(request.body()):
                if answer.done():
                    break
                await call.write(store_pb2.WriteImageRequest(data=data))
            await call.done_writing()
        reply = await answer
    except grpc.aio.AioRpcError as error:
        raise Fault(503, "The image agent is gone, try again later.", reason="AGENT_GONE") from error
    finally:
        answer.cancel()
        call.cancel()  # nothing, when it is done
    if reply is _EOF or reply.HasField("refusal"):
        raise _refused(request, store_pb2.WriteImageResponse() if reply is _EOF else reply)


def _refused(request: Request, reply: store_pb2.WriteImageResponse) -> Fault:
    refusal = reply.refusal
    code = next((code for code in grpc.StatusCode if code.value[0] == refusal.code), grpc.StatusCode.UNKNOWN)
    tables = (request.api.dialect.statuses, STATUSES)
    keys = ((code, refusal.reason), code)
    status = next((table[key] for table in tables for key in keys if key in table), 500)
    return Fault(status, refusal.message, reason=refusal.reason, code=code)


async def _chunks(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces in messages of a good size."""
    held: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(_IDLE_S):
                piece = await anext(pieces)
        except StopAsyncIteration:
            break
        except TimeoutError as error:
            raise Fault(408, "The upload stood still for too long.") from error
        held.append(piece)
        size += len(piece)
        if size >= CHUNK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


# -- out


async def download(request: Request) -> Response:
    asked = pb.GetImageSourceRequest(id=request.params["image_id"])
    try:
        source = await request.call(request.stub(ImageServiceStub).GetImageSource, asked)
    except Fault as fault:
        if fault.reason == "NO_DATA":
            return Response(204)
        raise
    headers = {"content-type": "application/octet-stream"}
    offset, length = _range(request, source.size_bytes)
    if length:
        end = offset + length - 1
        headers["content-range"] = f"bytes {offset}-{end}/{source.size_bytes}"
    elif source.checksum:
        headers["content-md5"] = source.checksum
    if source.size_bytes or source.checksum:
        headers["content-length"] = str(length or source.size_bytes)
    return Response(206 if length else 200, _pieces(request, source, offset, length), headers)


def _range(request: Request, size: int) -> tuple[int, int]:
    """Offset and length of what is asked for; length 0: everything."""
    asked, old = request.headers.get("range", ""), request.headers.get("content-range", "")
    if not size or not (asked or old):
        return 0, 0
    refused = Fault(
        416,
        f"The range {(asked or old)[:80]} cannot be satisfied.",
        headers={"content-range": f"bytes */{size}"},
    )
    if asked:
        match = _RANGE.fullmatch(asked.strip())
        if match is None:
            raise refused
        first, last = match.groups()
        if first:
            start, stop = int(first), int(last) if last else size - 1
        else:
            start, stop = max(0, size - int(last or 0)), size - 1
    else:
        match = _CONTENT_RANGE.fullmatch(old.strip())
        if match is None:
            raise refused
        start, stop = int(match[1]), int(match[2])
    stop = min(stop, size - 1)
    if start > stop:
        raise refused
    return start, stop - start + 1


async def _pieces(
    request: Request, source: pb.ImageSource, offset: int, length: int
) -> AsyncGenerator[bytes, None]:
    """The bytes as the agent sends them. Raises Fault."""
    call = _agent(request, source.address).ReadImage(
        store_pb2.ReadImageRequest(ticket=source.ticket, offset=offset, length=length),
        timeout=_STREAM_S,
        metadata=(("x-request-id", request.request_id),),
    )
    try:
        while (message := await call.read()) is not _EOF:
            yield message.data
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error, request.api.dialect.statuses) from error
    finally:
        call.cancel()


routes = [
    Route("PUT", "/v2/images/{image_id}/file", upload, stream=True),
    Route("GET", "/v2/images/{image_id}/file", download),
    Route("PUT", "/v2/images/{image_id}/stage", stage, stream=True),
]
