"""The leader's loops that tell nodes of networks, neighbors, security groups and their members."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from fabric.network import network_want, segment_list
from fabric.network.agent import reach
from fabric.network.bundle import Bundles
from fabric.network.collection import (
    ADDRESS_GROUPS,
    AGENTS,
    DHCP_OWNER,
    MEMBERS,
    NEIGHBORS,
    NETWORKS,
    PORTS,
    RULES,
    SECURITY_GROUPS,
    SUBNETS,
    marked,
    remote_of,
)
from fabric.network.dhcp_placing import served
from fabric.network.dhcp_port import DhcpPorts
from fabric.network.places import Places, place
from fabric.network.record import plain
from fabric.network.telling import Telling
from fabric.network.v1 import (
    address_group_pb2,
    neighbor_pb2,
    network_pb2,
    port_pb2,
    security_group_pb2,
    segment_pb2,
    subnet_pb2,
)
from fabric.runtime.client import Client
from fabric.runtime.reconcile import Loop
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Collection, Store

_SHORTEST_REST = timedelta(milliseconds=100)  # of what is told to nodes, until it is told again
_REST_A_NODE = timedelta(milliseconds=8)
_LONGEST_REST = timedelta(milliseconds=800)


class Spread:
    """Wakes by what ports, networks, subnets, groups and rules say; writes only what differs."""

    def __init__(self, store: Store, client: Client) -> None:
        self._store = store
        told: tuple[Collection[Any], ...] = (NETWORKS, NEIGHBORS, SECURITY_GROUPS, MEMBERS)
        self._tellings = {collection.name: Telling(store, collection) for collection in told}
        self._places = Places()
        self._dhcp = DhcpPorts(store, client)
        self._dhcp_networks: dict[str, str] = {}  # of DHCP ports that may be gone when their change is told
        self._subnet_networks: dict[str, str] = {}  # of subnets that may be gone when their change is told
        self._joins: dict[str, tuple[str, tuple[str, ...]]] = {}  # node -> tunnel address, physical networks
        self._rule_groups: dict[str, tuple[str, str]] = {}  # the same for rules: group, remote group
        self._neighbors = Bundles()  # of ports, by network
        self._members = Bundles()  # of <group>.<port>, by group
        self.networks = _loop("networks", self.reconcile_network, self._network_ids, self._network_rest)
        self.groups = _loop("groups", self.reconcile_group, self._group_ids, self._group_rest)
        self.members = _loop("members", self.reconcile_members, self._member_ids, self._member_rest)
        self.neighbors = _loop("neighbors", self.reconcile_neighbors, self._neighbor_ids, self._neighbor_rest)

    def begin(self) -> Callable[[], None]:
        """Follow the tables; returns a function that ends it."""
        table = self._store.table
        self._restore()
        ends = [
            table(PORTS).subscribe(self._port_changed),
            table(NETWORKS).subscribe(self._network_changed),
            table(AGENTS).subscribe(self._agent_changed),
            table(SUBNETS).subscribe(self._subnet_changed),
            table(SECURITY_GROUPS).subscribe(self.groups.wake),
            table(RULES).subscribe(self._rule_changed),
            table(ADDRESS_GROUPS).subscribe(self._address_group_changed),
            self._store.on_life(self._life_changed),
        ]

        def end() -> None:
            for stop in ends:
                stop()

        return end

    def _restore(self) -> None:
        """What nodes have been told of stays in the bundles that they know."""
        ports = self._store.table(PORTS)
        for bundle, told in self._tellings[NEIGHBORS.name].told():
            for neighbor in told.neighbors:
                if ports.get(neighbor.port_id) is not None:
                    self._neighbors.restore(bundle, neighbor.port_id)
        for bundle, told in self._tellings[MEMBERS.name].told():
            for one in told.members:
                if self._member(one.security_group_id, one.port_id) is not None:
                    self._members.restore(bundle, f"{one.security_group_id}.{one.port_id}")

    # -- networks

    async def reconcile_network(self, network_id: str) -> timedelta | None:
        """The network, its subnets and its DHCP port on each node that has ports of it, and nowhere else."""
        network = self._store.find(NETWORKS, network_id)
        wants = {}
        dhcp = None
        if network is not None and not marked(network):
            subnets, hosts = self._subnets(network_id), self._places.networks(network_id)
            dhcp = await self._dhcp.settle(network, subnets, hosts)
            serving = served(network, hosts, dhcp.spec.node) if dhcp is not None else set()
            for segment, nodes in self._by_segment(network, hosts | serving):
                want = network_want.made(network, segment, subnets)
                peers = self._peers(nodes) if network_want.spans_nodes(want) else []
                for node in nodes:
                    wants[node] = copy_of(want)
                    wants[node].peers.extend(peer for peer in peers if peer.node != node)
                    if dhcp is not None and node in serving:
                        network_want.put_dhcp(wants[node], dhcp)
        await self._tell(NETWORKS, network_id, wants)
        return self._dhcp.patience(dhcp)

    def _by_segment(
        self, network: network_pb2.Network, nodes: set[str]
    ) -> list[tuple[segment_pb2.Segment | None, set[str]]]:
        """The nodes that use each segment; None: those that reach none of several."""
        if len(network.spec.segments) < 2:
            return [(segment_list.segments(network)[0], nodes)]
        of: dict[str, set[str]] = defaultdict(set)
        known = {segment.meta.id: segment for segment in network.spec.segments}
        for node in nodes:
            used = segment_list.used(network, reach(self._store, node))
            of[used.meta.id if used is not None else ""].add(node)
        return [(known.get(id_), there) for id_, there in of.items()]

    def _peers(self, nodes: set[str]) -> list[network_pb2.Peer]:
        """Those that have ever said where they take tunnels: a node whose agent restarts stays one."""
        known = ((node, self._joins.get(node, ("", ()))[0]) for node in sorted(nodes))
        return [network_pb2.Peer(node=node, address=address) for node, address in known if address]

    async def reconcile_neighbors(self, bundle: str) -> timedelta | None:
        """Where the ports of a bundle are, on each node that has their network."""
        network_id = bundle.partition(".")[0]
        network, nodes = self._store.find(NETWORKS, network_id), self._places.networks(network_id)
        found = [port for id_ in self._neighbors.things(bundle) if (port := self._bound(id_)) is not None]
        nodes = self._joined(network, nodes) if found and network is not None else set()
        want = neighbor_pb2.NeighborBundle(neighbors=map(neighbor, found))
        await self._tell(NEIGHBORS, bundle, dict.fromkeys(nodes, want))
        return None

    def _joined(self, network: network_pb2.Network, nodes: set[str]) -> set[str]:
        """Those of the nodes that tunnels join."""
        joined = set[str]()
        for segment, there in self._by_segment(network, nodes):
            if segment is not None and segment.spec.network_type == "vxlan" and len(there) > 1:
                joined |= there
        return joined

    def _bound(self, port_id: str) -> port_pb2.Port | None:
        """The port, if it is on the node that it names."""
        port = self._store.find(PORTS, port_id)
        return port if port is not None and port.spec.node in self._places.of(port_id) else None

    def _subnets(self, network_id: str) -> list[subnet_pb2.Subnet]:
        found = self._store.table(SUBNETS).by("network", network_id)
        return sorted((s for s in found if not marked(s)), key=lambda s: s.meta.id)

    # -- groups

    async def reconcile_group(self, group_id: str) -> timedelta | None:
        """The group with its rules on each node that hosts ports of it."""
        group = self._store.find(SECURITY_GROUPS, group_id)
        nodes = self._places.groups(group_id) if group is not None else set()
        want = None
        if group is not None and nodes:
            rules = sorted(self._store.table(RULES).by("group", group_id), key=lambda rule: rule.meta.id)
            want = security_group_pb2.SecurityGroupWant(
                security_group=_bare(group), rules=[told(rule) for rule in rules]
            )
        await self._tell(SECURITY_GROUPS, group_id, dict.fromkeys(nodes, want))
        return None

    async def reconcile_members(self, bundle: str) -> timedelta | None:
        """The addresses of the ports of a bundle, on each node where a rule names their group as remote."""
        group_id = bundle.partition(".")[0]
        ids = (thing.partition(".")[2] for thing in self._members.things(bundle))
        found = [one for port_id in ids if (one := self._member(group_id, port_id)) is not None]
        want = security_group_pb2.GroupMemberBundle(members=found)
        await self._tell(MEMBERS, bundle, dict.fromkeys(self._readers(group_id) if found else (), want))
        return None

    def _member(self, group_id: str, port_id: str) -> security_group_pb2.GroupMember | None:
        """What the port adds to the group; an address group is a group with itself as its one member."""
        if group_id == port_id:
            named = self._store.find(ADDRESS_GROUPS, group_id)
            return None if named is None else address_member(named)
        port = self._store.find(PORTS, port_id)
        if port is None or marked(port) or group_id not in port.spec.security_group_ids:
            return None
        return member(group_id, port)

    def _readers(self, group_id: str) -> set[str]:
        """The nodes where rules name the group as remote."""
        rules = self._store.table(RULES).by("remote", group_id)
        named_by = {rule.spec.security_group_id for rule in rules}
        return set[str]().union(*(self._places.groups(other) for other in named_by))

    # -- what wakes what

    def _port_changed(self, port_id: str) -> None:
        port = self._store.find(PORTS, port_id)
        if port is not None and port.spec.device_owner == DHCP_OWNER:
            self._dhcp_networks[port_id] = port.spec.network_id
        if port_id in self._dhcp_networks:
            self.networks.wake(self._dhcp_networks[port_id])
        if port is None:
            self._dhcp_networks.pop(port_id, None)
        networks, groups, members = self._places.put(port_id, place(port) if port is not None else None)
        self._put_neighbor(port_id)
        for network_id in networks:
            self.networks.wake(network_id)
            self._wake_neighbors(network_id)
        for group_id in members:
            self._put_member(group_id, port_id)
        for group_id in groups:
            self.groups.wake(group_id)
            for rule in self._store.table(RULES).by("group", group_id):
                self._wake_members(remote_of(rule))

    def _address_group_changed(self, group_id: str) -> None:
        self._put_member(group_id, group_id)

    def _put_neighbor(self, port_id: str) -> None:
        port = self._bound(port_id)
        bundle = self._neighbors.put(port.spec.network_id, port_id) if port else self._neighbors.drop(port_id)
        if bundle is not None:
            self.neighbors.wake(bundle)

    def _put_member(self, group_id: str, port_id: str) -> None:
        thing, is_one = f"{group_id}.{port_id}", self._member(group_id, port_id) is not None
        bundle = self._members.put(group_id, thing) if is_one else self._members.drop(thing)
        if bundle is not None:
            self.members.wake(bundle)

    def _network_changed(self, network_id: str) -> None:
        self.networks.wake(network_id)
        network = self._store.find(NETWORKS, network_id)
        if network is not None and network.spec.segments:
            self._wake_neighbors(network_id)

    def _wake_neighbors(self, network_id: str) -> None:
        for bundle in self._neighbors.of_owner(network_id):
            self.neighbors.wake(bundle)

    def _agent_changed(self, agent_id: str) -> None:
        agent = self._store.find(AGENTS, agent_id)
        if agent is None:
            return
        node, joins = agent.spec.node, (agent.spec.tunnel_address, tuple(agent.spec.physical_networks))
        if self._joins.get(node) == joins:
            return
        self._joins[node] = joins
        for network_id in self._store.wanted(NETWORKS, node).ids():
            self._network_changed(network_id)

    def _life_changed(self, node: str) -> None:
        for network_id in self._dhcp.life_changed(node):
            self.networks.wake(network_id)

    def _subnet_changed(self, subnet_id: str) -> None:
        subnet = self._store.find(SUBNETS, subnet_id)
        if subnet is not None:
            self._subnet_networks[subnet_id] = subnet.spec.network_id
        network_id = self._subnet_networks.get(subnet_id)
        if subnet is None:
            self._subnet_networks.pop(subnet_id, None)
        if network_id:
            self.networks.wake(network_id)

    def _rule_changed(self, rule_id: str) -> None:
        rule = self._store.find(RULES, rule_id)
        if rule is not None:
            self._rule_groups[rule_id] = (rule.spec.security_group_id, remote_of(rule))
        group_id, remote_id = self._rule_groups.get(rule_id, ("", ""))
        if rule is None:
            self._rule_groups.pop(rule_id, None)
        if group_id:
            self.groups.wake(group_id)
        self._wake_members(remote_id)

    def _wake_members(self, group_id: str) -> None:
        for bundle in self._members.of_owner(group_id):
            self.members.wake(bundle)

    # -- telling

    async def _tell(self, collection: Collection[Any], id_: str, wants: Mapping[str, Any]) -> None:
        await self._tellings[collection.name].tell(id_, wants)

    def _network_rest(self, network_id: str) -> timedelta:
        return _rest(len(self._places.networks(network_id)))

    def _neighbor_rest(self, bundle: str) -> timedelta:
        return self._network_rest(bundle.partition(".")[0])

    def _group_rest(self, group_id: str) -> timedelta:
        return _rest(len(self._places.groups(group_id)))

    def _member_rest(self, bundle: str) -> timedelta:
        return _rest(len(self._readers(bundle.partition(".")[0])))

    def _told_ids(self, collection: Collection[Any]) -> Iterable[str]:
        return self._tellings[collection.name].ids()

    def _network_ids(self) -> set[str]:
        return {*self._store.table(NETWORKS).ids(), *self._told_ids(NETWORKS)}

    def _neighbor_ids(self) -> set[str]:
        return {*self._neighbors.ids(), *self._told_ids(NEIGHBORS)}

    def _group_ids(self) -> set[str]:
        return {*self._store.table(SECURITY_GROUPS).ids(), *self._told_ids(SECURITY_GROUPS)}

    def _member_ids(self) -> set[str]:
        return {*self._members.ids(), *self._told_ids(MEMBERS)}


def _loop(
    name: str,
    reconcile: Callable[[str], Awaitable[timedelta | None]],
    ids: Callable[[], Iterable[str]],
    rest: Callable[[str], timedelta],
) -> Loop:
    return Loop(f"network.{name}", reconcile, ids, rest=rest)


def _rest(nodes: int) -> timedelta:
    """What is told to many nodes is told the less often the more they are: a change of one port is a write for each."""
    return min(max(_SHORTEST_REST, nodes * _REST_A_NODE), _LONGEST_REST)


def neighbor(port: port_pb2.Port) -> neighbor_pb2.Neighbor:
    """What other nodes must know of a port."""
    return neighbor_pb2.Neighbor(
        network_id=port.spec.network_id,
        port_id=port.meta.id,
        mac_address=port.spec.mac_address,
        addresses=[fixed.ip_address for fixed in port.spec.fixed_ips],
        node=port.spec.node,
        dns_name=port.spec.dns_name,
    )


def member(group_id: str, port: port_pb2.Port) -> security_group_pb2.GroupMember:
    """What a port adds to a group that is named as remote."""
    addresses = [fixed.ip_address for fixed in port.spec.fixed_ips]
    addresses += [pair.ip_address for pair in port.spec.allowed_address_pairs]
    return security_group_pb2.GroupMember(
        security_group_id=group_id, port_id=port.meta.id, addresses=sorted(set(addresses))
    )


def address_member(group: address_group_pb2.AddressGroup) -> security_group_pb2.GroupMember:
    """All addresses of an address group."""
    return security_group_pb2.GroupMember(
        security_group_id=group.meta.id, port_id=group.meta.id, addresses=sorted(group.spec.addresses)
    )


def told(rule: security_group_pb2.SecurityGroupRule) -> security_group_pb2.SecurityGroupRule:
    """The rule as nodes know it: whose addresses the remote group has makes no difference to them."""
    copy = plain(rule)
    copy.spec.remote_group_id = remote_of(rule)
    copy.spec.remote_address_group_id = ""
    return copy


def _bare(group: security_group_pb2.SecurityGroup) -> security_group_pb2.SecurityGroup:
    bare = plain(group)
    bare.ClearField("rules")
    return bare
