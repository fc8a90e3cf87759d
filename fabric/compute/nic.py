"""A server's ports: made or bound for it, and let go, through the network service."""

import ipaddress
import time
from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.v1 import server_pb2 as pb
from fabric.network.v1 import (
    network_pb2,
    network_pb2_grpc,
    port_pb2,
    port_pb2_grpc,
    subnet_pb2,
    subnet_pb2_grpc,
)
from fabric.runtime.client import Client
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, NotFound
from fabric.type.v1.query_pb2 import Filter, Query

_MOST_IN_A_LABEL = 63  # RFC 1035
_SURROUNDINGS_S = 2.0  # how long what is known of a network is used again

Surroundings = tuple[network_pb2.Network, Sequence[subnet_pb2.Subnet]]


class Nics:
    """Every verb may be repeated."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[str, tuple[float, Surroundings]] = {}

    async def ensure(self, server: pb.Server, request: pb.NicRequest) -> pb.Nic:
        """The port of the request, bound to the server on its node."""
        port = await (self._made(server, request) if request.owned else self._bound(server, request.port_id))
        return await self._nic(server, request, port)

    async def release(self, server_id: str, nic: pb.Nic) -> None:
        """Delete the port if it was made for the server, else unbind it if it still is the server's."""
        try:
            if nic.owned:
                await self._port_call("DeletePort", port_pb2.DeletePortRequest(id=nic.port_id))
                return
            port = await self._port_call("GetPort", port_pb2.GetPortRequest(id=nic.port_id))
            if port.spec.device_id == server_id:
                await self._bind(nic.port_id, device_id="", device_owner="", node="")
        except NotFound:
            return

    async def _made(self, server: pb.Server, request: pb.NicRequest) -> port_pb2.Port:
        port = new_port(server, request.port_id, request.network_id)
        port.meta.request_id = server.meta.request_id
        port.spec.node = server.node
        port.spec.security_group_ids.extend(server.spec.security_groups)
        if request.fixed_ip:
            port.spec.fixed_ips.add(ip_address=request.fixed_ip)
        try:
            made: port_pb2.Port = await self._port_call("CreatePort", port_pb2.CreatePortRequest(port=port))
        except AlreadyExists as error:
            if error.facts.get("index") != "id":
                raise
            return await self._bound(server, request.port_id)
        return made

    async def _bound(self, server: pb.Server, port_id: str) -> port_pb2.Port:
        port: port_pb2.Port = await self._port_call("GetPort", port_pb2.GetPortRequest(id=port_id))
        if port.spec.device_id not in ("", server.meta.id):
            raise FailedPrecondition(f"Port {port_id} is still in use.", reason="PORT_IN_USE", id=port_id)
        if (port.spec.device_id, port.spec.node) == (server.meta.id, server.node):
            return port
        return await self._bind(
            port_id, device_id=server.meta.id, device_owner=_owner(server), node=server.node
        )

    async def _bind(self, port_id: str, *, device_id: str, device_owner: str, node: str) -> port_pb2.Port:
        port = port_pb2.Port()
        port.meta.id = port_id
        port.spec.device_id, port.spec.device_owner, port.spec.node = device_id, device_owner, node
        mask = FieldMask(paths=["spec.device_id", "spec.device_owner", "spec.node"])
        request = port_pb2.UpdatePortRequest(port=port, update_mask=mask)
        bound: port_pb2.Port = await self._port_call("UpdatePort", request)
        return bound

    async def _port_call(self, rpc: str, request: object) -> port_pb2.Port:
        reply: port_pb2.Port = await self._client.call(port_pb2_grpc.PortServiceStub, rpc, request)
        return reply

    async def _nic(self, server: pb.Server, request: pb.NicRequest, port: port_pb2.Port) -> pb.Nic:
        network, subnets = await self._surroundings(port.spec.network_id)
        nic = pb.Nic(
            port_id=port.meta.id,
            network_id=network.meta.id,
            network_name=network.meta.name,
            mac_address=port.spec.mac_address,
            mtu=network.spec.mtu,
            tap=f"tap{port.meta.id[:11]}",
            tag=request.tag,
            owned=request.owned,
        )
        by_id = {subnet.meta.id: subnet for subnet in subnets}
        for fixed in port.spec.fixed_ips:
            found = nic.fixed_ips.add(subnet_id=fixed.subnet_id, ip_address=fixed.ip_address)
            found.ip_version = ipaddress.ip_address(fixed.ip_address).version
            if subnet := by_id.get(fixed.subnet_id):
                found.cidr, found.gateway_ip = subnet.spec.cidr, subnet.spec.gateway_ip
                found.dns_nameservers.extend(subnet.spec.dns_nameservers)
                found.ipv6_address_mode, found.dhcp = subnet.spec.ipv6_address_mode, subnet.spec.enable_dhcp
        return nic

    async def _surroundings(self, network_id: str) -> Surroundings:
        now = time.monotonic()
        known = self._known.get(network_id)
        if known is not None and now - known[0] < _SURROUNDINGS_S:
            return known[1]
        network = await self._client.call(
            network_pb2_grpc.NetworkServiceStub, "GetNetwork", network_pb2.GetNetworkRequest(id=network_id)
        )
        query = Query(filters=[Filter(path="spec.network_id", values=[network_id])], all_projects=True)
        reply = await self._client.call(
            subnet_pb2_grpc.SubnetServiceStub, "ListSubnets", subnet_pb2.ListSubnetsRequest(query=query)
        )
        self._known = {id_: kept for id_, kept in self._known.items() if now - kept[0] < _SURROUNDINGS_S}
        self._known[network_id] = (now, (network, list(reply.subnets)))
        return self._known[network_id][1]


def new_port(server: pb.Server, port_id: str, network_id: str) -> port_pb2.Port:
    """A port that is to be made for the server, as its project's whoever asks."""
    port = port_pb2.Port()
    port.meta.id, port.meta.project_id = port_id, server.meta.project_id
    spec = port.spec
    spec.network_id, spec.admin_state_up, spec.port_security_enabled = network_id, True, True
    spec.device_id, spec.device_owner = server.meta.id, _owner(server)
    spec.dns_name = _dns_name(server.spec.hostname)
    return port


def _dns_name(hostname: str) -> str:
    """The name that a server's ports have in DNS: the first label of its host name, if it can be one."""
    label = hostname.partition(".")[0]
    return label if len(label) <= _MOST_IN_A_LABEL else ""


def _owner(server: pb.Server) -> str:
    return f"compute:{server.spec.availability_zone or 'nova'}"
