"""Reading an image from the agent that has it."""

from collections.abc import AsyncIterator
from typing import Protocol

import grpc

from fabric.image.v1 import store_pb2 as pb
from fabric.image.v1.store_pb2_grpc import ImageStoreServiceStub
from fabric.runtime.client import Client
from fabric.runtime.errors import from_rpc
from fabric.runtime.tls import Identity

_DEADLINE_S = 6 * 3600.0


class Source(Protocol):
    """fabric.compute.v1.ImageSource, fabric.image.v1.ImageSource."""

    @property
    def address(self) -> str: ...

    @property
    def ticket(self) -> str: ...


async def fetch(source: Source, identity: Identity | None = None) -> AsyncIterator[bytes]:
    """All bytes of the image, in pieces. Raises what the agent says, Unavailable when it says nothing."""
    client = Client(source.address, identity=identity)
    try:
        call = client.stub(ImageStoreServiceStub).ReadImage(
            pb.ReadImageRequest(ticket=source.ticket), timeout=_DEADLINE_S
        )
        async for piece in call:
            yield piece.data
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    finally:
        await client.close()
