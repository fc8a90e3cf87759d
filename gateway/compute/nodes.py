"""What the handlers about compute nodes share: reading them, their numbers, their servers."""

from collections.abc import Sequence

from fabric.compute.v1 import compute_node_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.compute.v1.compute_node_pb2_grpc import ComputeNodeRegistryServiceStub
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.core.codec import Timestamp
from gateway.core.http import Request

TIME = Timestamp("nova")


async def nodes(request: Request) -> list[pb.ComputeNode]:
    """All, by name. Raises Fault 403."""
    asked = pb.ListComputeNodesRequest()
    asked.query.sorts.add(path="meta.name")
    reply = await request.call(request.stub(ComputeNodeRegistryServiceStub).ListComputeNodes, asked)
    return list(reply.compute_nodes)


async def leaders(request: Request) -> list[pb.Leader]:
    """Which controllers lead the loops of compute. Raises Fault 403."""
    stub = request.stub(ComputeNodeRegistryServiceStub)
    return list((await request.call(stub.ListLeaders, pb.ListLeadersRequest())).leaders)


def number(node: pb.ComputeNode) -> int:
    """A number that stays the same, for versions before 2.53."""
    return int(node.meta.id[:7], 16)


async def servers_by_node(request: Request, names: Sequence[str]) -> dict[str, list[server_pb2.Server]]:
    """The servers of nodes, for administrators."""
    asked = server_pb2.ListServersRequest()
    asked.query.all_projects = True
    asked.query.filters.add(path="node", values=names)
    reply = await request.call(request.stub(ServerServiceStub).ListServers, asked)
    found: dict[str, list[server_pb2.Server]] = {}
    for server in reply.servers:
        found.setdefault(server.node, []).append(server)
    return found
