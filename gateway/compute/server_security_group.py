"""The security groups of servers: those of their ports."""

from collections.abc import Iterable, Sequence

from fabric.compute.v1 import server_pb2 as pb
from fabric.network.v1 import port_pb2, security_group_pb2
from fabric.network.v1.port_pb2_grpc import PortServiceStub
from fabric.network.v1.security_group_pb2_grpc import SecurityGroupServiceStub
from fabric.type.v1.query_pb2 import Filter, Query
from gateway.core.codec import JsonValue
from gateway.core.http import Request

SecurityGroup = security_group_pb2.SecurityGroup


async def groups(request: Request, ids: Iterable[str] | None = None) -> list[SecurityGroup]:
    """With these ids; None: all that the caller sees."""
    query = Query()
    if ids is not None:
        query.filters.add(path="meta.id", values=list(ids))
        query.all_projects = True
    asked = security_group_pb2.ListSecurityGroupsRequest(query=query)
    reply = await request.call(request.stub(SecurityGroupServiceStub).ListSecurityGroups, asked)
    return list(reply.security_groups)


async def ports(request: Request, server_ids: Sequence[str]) -> list[port_pb2.Port]:
    """Of these servers."""
    query = Query(filters=[Filter(path="spec.device_id", values=server_ids)], all_projects=True)
    reply = await request.call(
        request.stub(PortServiceStub).ListPorts, port_pb2.ListPortsRequest(query=query)
    )
    return list(reply.ports)


async def ids_by_server(request: Request, server_ids: Sequence[str]) -> dict[str, list[str]]:
    """The ids of the groups of each server, each once."""
    found: dict[str, dict[str, None]] = {}
    for port in await ports(request, server_ids):
        found.setdefault(port.spec.device_id, {}).update(dict.fromkeys(port.spec.security_group_ids))
    return {id_: list(group_ids) for id_, group_ids in found.items()}


async def describe(
    request: Request, servers: Sequence[pb.Server], shown: Sequence[dict[str, JsonValue]]
) -> None:
    """Add security_groups to rendered servers that have any."""
    ids = [server.meta.id for server in servers if server.nics]
    if not ids:
        return
    roles = request.roles
    by_server = await ids_by_server(request, ids)
    wanted = {id_ for group_ids in by_server.values() for id_ in group_ids}
    names = {group.meta.id: group.meta.name for group in await groups(request, wanted)} if wanted else {}
    request.roles = roles
    for server, item in zip(servers, shown, strict=True):
        mine = by_server.get(server.meta.id)
        if mine:
            item["security_groups"] = [{"name": names.get(id_, id_)} for id_ in mine]
