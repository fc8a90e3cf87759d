"""Which nodes serve a network's DHCP, and what an administrator says of it."""

from fabric.network.collection import NETWORKS, PORTS, agent_id
from fabric.network.dhcp_placing import dhcp_port_id, nodes_of
from fabric.network.network import Networks
from fabric.network.v1 import dhcp_pb2 as pb
from fabric.network.v1 import network_pb2
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store


class Dhcp:
    """The DHCP agent scheduler's calls."""

    def __init__(self, store: Store, policy: Policy, networks: Networks) -> None:
        self._store = store
        self._policy = policy
        self._networks = networks

    async def ListDhcp(self, request: pb.ListDhcpRequest, caller: Caller) -> pb.ListDhcpResponse:
        """Of one network, or of one node."""
        if request.network_id:
            network = self._networks.find(request.network_id, caller)
            self._policy.enforce(caller, "get_dhcp-agents", {})
            return pb.ListDhcpResponse(ids=sorted(nodes_of(self._store, network)))
        self._policy.enforce(caller, "get_dhcp-networks", {})
        return pb.ListDhcpResponse(ids=sorted(self._networks_of(request.node)))

    def _networks_of(self, node: str) -> list[str]:
        ports = self._store.table(PORTS)
        hosted = {port.spec.network_id for port in ports.by("node", node)}
        found = []
        for network in self._store.table(NETWORKS):
            id_ = network.meta.id
            unsettled = node in network.spec.nodes_with_dhcp or ports.get(dhcp_port_id(id_)) is None
            if (id_ in hosted or unsettled) and node in nodes_of(self._store, network):
                found.append(id_)
        return found

    @again
    async def PlaceDhcp(self, request: pb.PlaceDhcpRequest, caller: Caller) -> network_pb2.Network:
        """Take the network off the node, or give it (back) to it."""
        self._policy.enforce(caller, "delete_dhcp-network" if request.away else "create_dhcp-network", {})
        old = self._networks.find(request.id, caller)
        serving = request.node in nodes_of(self._store, old)
        if serving != request.away:
            raise _conflict(old, agent_id(request.node, "dhcp"), serving)
        new = copy_of(old)
        without = [node for node in old.spec.nodes_without_dhcp if node != request.node]
        asked = [node for node in old.spec.nodes_with_dhcp if node != request.node]
        (without if request.away else asked).append(request.node)
        new.spec.nodes_without_dhcp[:], new.spec.nodes_with_dhcp[:] = without, asked
        async with self._store.transaction() as txn:
            txn.update(NETWORKS, new)
        return self._networks.present(caller, self._networks.kept(new))


def _conflict(network: network_pb2.Network, agent: str, serving: bool) -> FailedPrecondition:
    if serving:
        return FailedPrecondition(
            f"The network {network.meta.id} has been already hosted by the DHCP Agent {agent}.",
            reason="NETWORK_HOSTED_BY_DHCP_AGENT",
        )
    return FailedPrecondition(
        f"The network {network.meta.id} is not hosted by the DHCP agent {agent}.",
        reason="NETWORK_NOT_HOSTED_BY_DHCP_AGENT",
    )
