"""Reading a server's files from the agent of the node that it leaves."""

from collections.abc import AsyncIterator

import grpc

from agents.compute.driver import Piece
from fabric.compute.v1 import node_pb2
from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.node_pb2_grpc import ComputeNodeServiceStub
from fabric.runtime.client import Client
from fabric.runtime.errors import from_rpc
from fabric.runtime.tls import Identity

_DEADLINE_S = 6 * 3600.0


async def fetch_files(
    server_id: str, transfer: pb.Transfer, identity: Identity | None = None
) -> AsyncIterator[Piece]:
    """All of them, or those that a running guest does not change. Raises what the agent says, Unavailable."""
    client = Client(transfer.address, identity=identity)
    request = node_pb2.ReadServerFilesRequest(
        server_id=server_id,
        ticket=transfer.ticket,
        fixed_only=transfer.role == pb.Transfer.ROLE_RECEIVE,
    )
    try:
        call = client.stub(ComputeNodeServiceStub).ReadServerFiles(request, timeout=_DEADLINE_S)
        async for piece in call:
            yield Piece(piece.name, piece.size_bytes, piece.offset, piece.data)
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    finally:
        await client.close()
