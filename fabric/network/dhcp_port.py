"""The port of a network's DHCP: its addresses are those of every server, and one node is said to have it."""

from collections.abc import Collection
from datetime import timedelta

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network.absence import PATIENCE, Absence
from fabric.network.collection import DHCP_OWNER, PORTS, marked
from fabric.network.dhcp_placing import choose, dhcp_port_id, living
from fabric.network.v1 import network_pb2, port_pb2, port_pb2_grpc, subnet_pb2
from fabric.runtime.client import Client
from fabric.runtime.errors import AlreadyExists
from fabric.runtime.store import Store


class DhcpPorts:
    """There as long as the network has a subnet with DHCP."""

    def __init__(self, store: Store, client: Client) -> None:
        self._store = store
        self._client = client
        self._absence = Absence(store)
        self._homeless: set[str] = set()  # networks whose port is on no node that is alive

    async def settle(
        self,
        network: network_pb2.Network,
        subnets: Collection[subnet_pb2.Subnet],
        hosts: Collection[str],
    ) -> port_pb2.Port | None:
        """The port, made or changed to fit the subnets and the nodes; None: there is none (yet)."""
        network_id = network.meta.id
        wanted = sorted(subnet.meta.id for subnet in subnets if subnet.spec.enable_dhcp)
        known = self._store.find(PORTS, dhcp_port_id(network_id))
        self._homeless.discard(network_id)
        if known is not None and marked(known):
            return None
        if not wanted:
            if known is not None:
                async with self._store.transaction() as txn:
                    txn.remove(PORTS, known)
            return None
        node = self._home(network, hosts, known.spec.node if known is not None else "")
        if not node or self._absence.seconds(node) is not None:
            self._homeless.add(network_id)
        if known is None:
            return await self._make(network, wanted, node)
        return await self._change(known, wanted, node)

    def patience(self, port: port_pb2.Port | None) -> timedelta | None:
        """When its node is given up, if that has just gone; None: there is nothing to wait for but another."""
        absent_s = self._absence.seconds(port.spec.node) if port is not None else None
        if absent_s is None or absent_s >= PATIENCE.total_seconds():
            return None
        return PATIENCE - timedelta(seconds=absent_s)

    def life_changed(self, node: str) -> set[str]:
        """Networks to look at, since the node's agent came or went."""
        self._absence.look(node)
        there = self._store.table(PORTS).by("node", node)
        return self._homeless | {p.spec.network_id for p in there if p.spec.device_owner == DHCP_OWNER}

    def _home(self, network: network_pb2.Network, hosts: Collection[str], current: str) -> str:
        absent_s = self._absence.seconds(current)
        if absent_s is None and current in hosts and current not in network.spec.nodes_without_dhcp:
            return current  # as ever, without a look at all nodes
        possible = living(self._store, network)
        if absent_s is not None and (not possible or absent_s < PATIENCE.total_seconds()):
            return current
        return choose(network, hosts, possible, current)

    async def _make(self, network: network_pb2.Network, wanted: list[str], node: str) -> port_pb2.Port | None:
        port = port_pb2.Port()
        port.meta.id, port.meta.project_id = dhcp_port_id(network.meta.id), network.meta.project_id
        port.spec.network_id, port.spec.node, port.spec.admin_state_up = network.meta.id, node, True
        port.spec.device_owner, port.spec.device_id = DHCP_OWNER, f"dhcp-{network.meta.id}"
        for subnet_id in wanted:
            port.spec.fixed_ips.add(subnet_id=subnet_id)
        given = FieldMask(paths=["spec.port_security_enabled", "spec.security_group_ids"])
        request = port_pb2.CreatePortRequest(port=port, given_mask=given)
        try:
            made: port_pb2.Port = await self._client.call(
                port_pb2_grpc.PortServiceStub, "CreatePort", request
            )
        except AlreadyExists as error:
            if error.facts.get("index") != "id":
                raise
            await self._store.fresh(None)
            return self._store.find(PORTS, port.meta.id)
        return made

    async def _change(self, known: port_pb2.Port, wanted: list[str], node: str) -> port_pb2.Port:
        port, mask = port_pb2.Port(), FieldMask()
        port.meta.id, port.spec.node = known.meta.id, node
        if sorted({fixed.subnet_id for fixed in known.spec.fixed_ips}) != wanted:
            kept = [fixed for fixed in known.spec.fixed_ips if fixed.subnet_id in wanted]
            port.spec.fixed_ips.extend(kept)
            for subnet_id in wanted:
                if subnet_id not in {fixed.subnet_id for fixed in kept}:
                    port.spec.fixed_ips.add(subnet_id=subnet_id)
            mask.paths.append("spec.fixed_ips")
        if known.spec.node != node:
            mask.paths.append("spec.node")
        if not mask.paths:
            return known
        request = port_pb2.UpdatePortRequest(port=port, update_mask=mask)
        changed: port_pb2.Port = await self._client.call(port_pb2_grpc.PortServiceStub, "UpdatePort", request)
        return changed
