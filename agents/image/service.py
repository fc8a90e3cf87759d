"""The gRPC face of an image agent: streams in and out, for those who have a ticket."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import structlog

from agents.image.agent import ImageAgent
from agents.image.download import Downloader
from agents.image.driver import ImageStore
from fabric.image.v1 import image_pb2
from fabric.image.v1 import store_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FabricError, InvalidArgument
from fabric.runtime.resource import methods
from fabric.runtime.rpc import Server
from fabric.runtime.ticket import Verifier

log = structlog.get_logger(__name__)

_IDLE_S = 600.0  # a stream that stands still for so long is broken


class ImageStoreRpcs:
    """ImageStoreService."""

    def __init__(
        self, agent: ImageAgent, driver: ImageStore, verifier: Verifier, downloader: Downloader | None = None
    ) -> None:
        self._agent = agent
        self._driver = driver
        self._verifier = verifier
        self._downloader = downloader or Downloader()

    def add_to(self, server: Server) -> None:
        """Serve it."""
        service = pb.DESCRIPTOR.services_by_name["ImageStoreService"]
        server.add(service, methods(service, {}, self))

    async def WriteImage(
        self, stream: AsyncIterator[pb.WriteImageRequest], caller: Caller
    ) -> AsyncIterator[pb.WriteImageResponse]:
        messages = aiter(stream)
        try:
            yield pb.WriteImageResponse(status=await self._take(messages))
        except FabricError as error:
            log.info("upload refused", reason=error.reason, cause=error.message)
            code, _ = error.code.value
            refusal = pb.WriteImageResponse.Refusal(code=code, reason=error.reason, message=error.message)
            yield pb.WriteImageResponse(refusal=refusal)
        async for _ in _data(messages):  # until the other side has read the answer
            pass

    async def _take(self, messages: AsyncIterator[pb.WriteImageRequest]) -> image_pb2.ImageStatus:
        try:
            first = await anext(messages)
        except StopAsyncIteration:
            raise InvalidArgument("The first message must have the ticket.", field="ticket") from None
        claims = self._verifier.check(first.ticket, may="write")
        image_id, upload_id = _claim(claims, "image"), _claim(claims, "upload")
        return await self._agent.take(image_id, upload_id, _data(messages), first.size_bytes)

    async def ReadImage(
        self, request: pb.ReadImageRequest, caller: Caller
    ) -> AsyncIterator[pb.ReadImageResponse]:
        claims = self._verifier.check(request.ticket, may="read")
        if request.offset < 0 or request.length < 0:
            raise InvalidArgument("A range begins at 0 or later.", field="offset")
        if url := claims.get("url"):
            pieces = _cut(self._downloader.download(url), request.offset, request.length)
        else:
            id_ = self._agent.readable(_claim(claims, "image"))
            pieces = self._driver.read(id_, request.offset, request.length)
        async for piece in pieces:
            yield pb.ReadImageResponse(data=piece)


def _claim(claims: Mapping[str, str], name: str) -> str:
    value = claims.get(name, "")
    if not value:
        raise InvalidArgument(f"The ticket says nothing of {name}.", field="ticket")
    return value


async def _data(messages: AsyncIterator[pb.WriteImageRequest]) -> AsyncIterator[bytes]:
    while True:
        try:
            async with asyncio.timeout(_IDLE_S):
                message = await anext(messages)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise InvalidArgument("The upload stood still for too long.", reason="UPLOAD_BROKEN") from error
        if message.data:
            yield message.data


async def _cut(pieces: AsyncIterator[bytes], offset: int, length: int) -> AsyncIterator[bytes]:
    """The range of a stream that always begins at 0."""
    at, end = 0, offset + length if length else 1 << 63
    async for piece in pieces:
        part = piece[max(0, offset - at) : max(0, end - at)]
        at += len(piece)
        if part:
            yield part
        if at >= end:
            return
