"""Actions that change a server's ports, done by the network service in the caller's name."""

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.server_create import group_id
from fabric.compute.v1 import server_pb2 as pb
from fabric.network.v1 import port_pb2, port_pb2_grpc, security_group_pb2, security_group_pb2_grpc
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.errors import InvalidArgument, NotFound

PORT_ACTIONS = ("add_security_group", "remove_security_group", "add_fixed_ip", "remove_fixed_ip")


class ServerPorts:
    """The server's record follows its ports by itself."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def get(self, port_id: str, caller: Caller) -> port_pb2.Port:
        """Raises NotFound."""
        request = port_pb2.GetPortRequest(id=port_id)
        port: port_pb2.Port = await self._client.call(
            port_pb2_grpc.PortServiceStub, "GetPort", request, caller
        )
        return port

    async def act(self, server: pb.Server, request: pb.ActOnServerRequest, caller: Caller) -> None:
        """One of PORT_ACTIONS. Raises NotFound, InvalidArgument, and what the network service says."""
        match request.WhichOneof("action"):
            case "add_security_group":
                await self._change_group(server, request.add_security_group.name, caller, add=True)
            case "remove_security_group":
                await self._change_group(server, request.remove_security_group.name, caller, add=False)
            case "add_fixed_ip":
                await self._add_address(server, request.add_fixed_ip.network_id, caller)
            case "remove_fixed_ip":
                await self._remove_address(server, request.remove_fixed_ip.address, caller)

    async def _change_group(self, server: pb.Server, name: str, caller: Caller, *, add: bool) -> None:
        """Add the group to, or take it from, all ports of the server."""
        reply = await self._client.call(
            security_group_pb2_grpc.SecurityGroupServiceStub,
            "ListSecurityGroups",
            security_group_pb2.ListSecurityGroupsRequest(),
            caller,
        )
        try:
            id_ = group_id(list(reply.security_groups), name)
        except InvalidArgument as error:
            raise NotFound(error.message, reason=error.reason) from error
        ports = [await self.get(nic.port_id, caller) for nic in server.nics]
        if not ports:
            raise InvalidArgument(f"Instance {server.meta.id} has no ports.", field="name")
        if not add and all(id_ not in port.spec.security_group_ids for port in ports):
            raise NotFound(
                f"Security group {name} is not associated with the instance {server.meta.id}",
                reason="SECURITY_GROUP_NOT_FOUND",
            )
        for port in ports:
            changed = port_pb2.Port()
            changed.meta.id = port.meta.id
            left = [group for group in port.spec.security_group_ids if group != id_]
            changed.spec.security_group_ids.extend([*left, id_] if add else left)
            await self._update(changed, "spec.security_group_ids", caller)

    async def _add_address(self, server: pb.Server, network_id: str, caller: Caller) -> None:
        """One more address for the server's first port on the network, of the subnet of its first address."""
        nic = next((nic for nic in server.nics if nic.network_id == network_id and nic.fixed_ips), None)
        if nic is None:
            raise InvalidArgument(
                f"Instance {server.meta.id} has no port with an address on network {network_id}.",
                field="networkId",
            )
        changed = port_pb2.Port()
        changed.meta.id = nic.port_id
        changed.spec.fixed_ips.extend((await self.get(nic.port_id, caller)).spec.fixed_ips)
        changed.spec.fixed_ips.add(subnet_id=nic.fixed_ips[0].subnet_id)
        await self._update(changed, "spec.fixed_ips", caller)

    async def _remove_address(self, server: pb.Server, address: str, caller: Caller) -> None:
        for nic in server.nics:
            port = await self.get(nic.port_id, caller)
            left = [fixed for fixed in port.spec.fixed_ips if fixed.ip_address != address]
            if len(left) < len(port.spec.fixed_ips):
                changed = port_pb2.Port()
                changed.meta.id = port.meta.id
                changed.spec.fixed_ips.extend(left)
                await self._update(changed, "spec.fixed_ips", caller)
                return
        raise InvalidArgument(
            f"Fixed IP {address} is not associated with instance {server.meta.id}.", field="address"
        )

    async def _update(self, port: port_pb2.Port, path: str, caller: Caller) -> None:
        request = port_pb2.UpdatePortRequest(port=port, update_mask=FieldMask(paths=[path]))
        await self._client.call(port_pb2_grpc.PortServiceStub, "UpdatePort", request, caller)
