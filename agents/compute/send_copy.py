"""Sending the copy of a disk to the image agent that makes an image of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc

from fabric.compute.v1 import server_pb2 as compute
from fabric.image.v1 import store_pb2 as pb
from fabric.image.v1.store_pb2_grpc import ImageStoreServiceStub
from fabric.runtime.client import Client
from fabric.runtime.errors import Unavailable, from_rpc, of_code
from fabric.runtime.tls import Identity

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]
_DEADLINE_S = 6 * 3600.0


async def send_copy(
    snapshot: compute.SnapshotWant,
    size_bytes: int,
    pieces: AsyncIterator[bytes],
    identity: Identity | None = None,
) -> None:
    """Return when the bytes are safe there. Raises what the agent says, Unavailable when it says nothing."""
    client = Client(snapshot.address, identity=identity)
    try:
        call = client.stub(ImageStoreServiceStub).WriteImage(timeout=_DEADLINE_S)
        answer = asyncio.ensure_future(call.read())
        try:
            with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the answer says why
                await call.write(pb.WriteImageRequest(ticket=snapshot.ticket, size_bytes=size_bytes))
                async for data in pieces:
                    if answer.done():
                        break
                    await call.write(pb.WriteImageRequest(data=data))
                await call.done_writing()
            reply = await answer
        finally:
            answer.cancel()
            call.cancel()  # nothing, when it is done
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    finally:
        await client.close()
    if reply is _EOF:
        raise Unavailable("The image agent is gone.")
    if reply.HasField("refusal"):
        raise of_code(reply.refusal.code, reply.refusal.message, reply.refusal.reason)
