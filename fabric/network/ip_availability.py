"""How many addresses are left."""

from fabric.network import address
from fabric.network.collection import PORTS, SUBNETS, marked
from fabric.network.network import Networks
from fabric.network.v1 import ip_availability_pb2 as pb
from fabric.network.v1 import network_pb2, subnet_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.policy import Policy
from fabric.runtime.store import Store


class IpAvailabilities:
    """The methods of IpAvailabilityService."""

    def __init__(self, store: Store, policy: Policy, networks: Networks) -> None:
        self._store = store
        self._policy = policy
        self._networks = networks

    async def GetIpAvailability(
        self, request: pb.GetIpAvailabilityRequest, caller: Caller
    ) -> pb.IpAvailability:
        self._policy.enforce(caller, "get_network_ip_availability", {"project_id": caller.project_id})
        return self._of(await self._networks.get(request.id, caller), 0)

    async def ListIpAvailabilities(
        self, request: pb.ListIpAvailabilitiesRequest, caller: Caller
    ) -> pb.ListIpAvailabilitiesResponse:
        if not self._policy.allows(caller, "get_network_ip_availability", {"project_id": caller.project_id}):
            return pb.ListIpAvailabilitiesResponse()
        networks, _ = await self._networks.list(request.query, caller)
        return pb.ListIpAvailabilitiesResponse(
            ip_availabilities=[self._of(network, request.ip_version) for network in networks]
        )

    def _of(self, network: network_pb2.Network, ip_version: int) -> pb.IpAvailability:
        found = pb.IpAvailability(
            network_id=network.meta.id, network_name=network.meta.name, project_id=network.meta.project_id
        )
        for subnet in self._store.table(SUBNETS).by("network", network.meta.id):
            if not marked(subnet) and ip_version in (0, subnet.spec.ip_version):
                found.subnets.append(self._subnet(subnet))
        return found

    def _subnet(self, subnet: subnet_pb2.Subnet) -> pb.SubnetAvailability:
        total = sum(last - first + 1 for first, last in address.ranges(subnet.spec.allocation_pools))
        return pb.SubnetAvailability(
            subnet_id=subnet.meta.id,
            subnet_name=subnet.meta.name,
            ip_version=subnet.spec.ip_version,
            cidr=subnet.spec.cidr,
            total_ips=str(total),
            used_ips=self._store.table(PORTS).count("subnet", subnet.meta.id),
        )
