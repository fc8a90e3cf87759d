"""What rests in etcd below /fabric/network, and what each kind of resource claims and charges."""

import hashlib
import ipaddress
import uuid
from collections.abc import Iterable
from typing import Any

from fabric.network import segment_list
from fabric.network.v1 import (
    address_group_pb2,
    address_scope_pb2,
    agent_pb2,
    auto_allocated_topology_pb2,
    default_security_group_rule_pb2,
    flavor_pb2,
    floating_ip_pb2,
    log_pb2,
    metering_pb2,
    neighbor_pb2,
    network_pb2,
    network_segment_range_pb2,
    port_forwarding_pb2,
    port_pb2,
    qos_pb2,
    rbac_policy_pb2,
    router_pb2,
    security_group_pb2,
    subnet_pb2,
    subnet_pool_pb2,
    trunk_pb2,
)
from fabric.runtime.store import UNLIMITED, Collection

DHCP_OWNER = "network:dhcp"
SUBPORT_OWNER = "trunk:subport"
INTERFACE_OWNER = "network:router_interface"
GATEWAY_OWNER = "network:router_gateway"
FLOATING_OWNER = "network:floatingip"
ROUTER_OWNERS = frozenset({INTERFACE_OWNER, GATEWAY_OWNER})
_UNCOUNTED = frozenset({DHCP_OWNER, GATEWAY_OWNER, FLOATING_OWNER})  # ports that are nobody's

NETWORK_LIMIT, SUBNET_LIMIT, PORT_LIMIT = "network.network", "network.subnet", "network.port"
GROUP_LIMIT, RULE_LIMIT = "network.security_group", "network.security_group_rule"
POOL_LIMIT, RBAC_LIMIT = "network.subnetpool", "network.rbac_policy"
ANYBODY = "*"  # as the target of an RBAC policy
ROUTER_LIMIT, FLOATING_LIMIT = "network.router", "network.floatingip"


def marked(message: object) -> bool:
    """Deleted for those who call the API; somebody still holds something of it."""
    return bool(message.meta.HasField("delete_time"))  # type: ignore[attr-defined]


def _segments(network: network_pb2.Network) -> Iterable[tuple[str, str]]:
    """A segment is the network's alone: a VNI, a VLAN of a physical network, or a whole physical network.

    One external network is the cloud's default one.
    """
    if network.spec.is_default and network.spec.external:
        yield "default", "external"
    for spec in segment_list.facts(network):
        match spec.network_type:
            case "vxlan" | "gre" | "geneve":
                yield "segment", f"{spec.network_type}:{spec.segmentation_id}"
            case "vlan":
                yield "segment", f"vlan:{spec.physical_network}:{spec.segmentation_id}"
            case "flat":
                yield "segment", f"flat:{spec.physical_network}"


NETWORKS = Collection(
    service="network",
    name="networks",
    message=network_pb2.Network,
    claims=_segments,
    charges=lambda _: {NETWORK_LIMIT: 1},
    indexes={
        "qos_policy": lambda network: (network.spec.qos_policy_id,) if network.spec.qos_policy_id else (),
        "segment": segment_list.ids,
    },
    want=network_pb2.NetworkWant,
    status=network_pb2.NetworkStatus,
)

SUBNETS = Collection(
    service="network",
    name="subnets",
    message=subnet_pb2.Subnet,
    charges=lambda _: {SUBNET_LIMIT: 1},
    indexes={
        "network": lambda subnet: (subnet.spec.network_id,),
        "subnetpool": lambda subnet: (subnet.spec.subnetpool_id,),
    },
)


def _addresses(port: port_pb2.Port) -> Iterable[tuple[str, str]]:
    yield "mac", f"{port.spec.network_id}/{port.spec.mac_address}"
    for fixed in port.spec.fixed_ips:
        yield "ip", f"{fixed.subnet_id}/{fixed.ip_address}"
        if port.spec.device_owner == INTERFACE_OWNER:
            yield "router_subnet", f"{port.spec.device_id}/{fixed.subnet_id}"


def _place(port: port_pb2.Port, node: str, target: str) -> None:
    port.spec.node, port.spec.target_node = node, target


PORTS = Collection(
    service="network",
    name="ports",
    message=port_pb2.Port,
    claims=_addresses,
    charges=lambda port: {} if port.spec.device_owner in _UNCOUNTED else {PORT_LIMIT: 1},
    indexes={
        "network": lambda port: (port.spec.network_id,),
        "network_project": lambda port: (f"{port.spec.network_id}/{port.meta.project_id}",),
        "subnet": lambda port: {fixed.subnet_id for fixed in port.spec.fixed_ips},
        "group": lambda port: port.spec.security_group_ids,
        "device": lambda port: (port.spec.device_id,) if port.spec.device_id else (),
        "routed": lambda port: (port.spec.network_id,) if port.spec.device_owner in ROUTER_OWNERS else (),
        "node": lambda port: (port.spec.node,) if port.spec.node else (),
        "marked": lambda port: ("1",) if marked(port) else (),
        "qos_policy": lambda port: (port.spec.qos_policy_id,) if port.spec.qos_policy_id else (),
    },
    node=lambda port: port.spec.node,
    also=lambda port: (port.spec.target_node,) if port.spec.target_node else (),
    place=_place,
    wanted=True,
    status=port_pb2.PortStatus,
    output_only=("dns_assignments", "qos_network_policy_id", "trunk"),
)

SECURITY_GROUPS = Collection(
    service="network",
    name="security_groups",
    message=security_group_pb2.SecurityGroup,
    claims=lambda group: [("default", group.meta.project_id)] if group.spec.is_default else [],
    charges=lambda _: {GROUP_LIMIT: 1},
    want=security_group_pb2.SecurityGroupWant,
    output_only=("rules",),
)


def rule_digest(said: security_group_pb2.SecurityGroupRuleSpec) -> str:
    """What two rules of one group must not share: all that they say."""
    spec = security_group_pb2.SecurityGroupRuleSpec()
    spec.CopyFrom(said)
    if spec.remote_ip_prefix:
        net = ipaddress.ip_network(spec.remote_ip_prefix, strict=False)
        spec.remote_ip_prefix = str(net) if net.prefixlen else ""  # all addresses are the same as any
    return hashlib.sha256(spec.SerializeToString(deterministic=True)).hexdigest()[:32]


def remote_of(rule: security_group_pb2.SecurityGroupRule) -> str:
    """The group, of ports or of addresses, that is at the other side; empty: none."""
    return rule.spec.remote_group_id or rule.spec.remote_address_group_id


RULES = Collection(
    service="network",
    name="security_group_rules",
    message=security_group_pb2.SecurityGroupRule,
    claims=lambda rule: [("rule", rule_digest(rule.spec))],
    charges=lambda _: {RULE_LIMIT: 1},
    indexes={
        "group": lambda rule: (rule.spec.security_group_id,),
        "remote": lambda rule: (remote_of(rule),) if remote_of(rule) else (),
    },
    output_only=("belongs_to_default_group",),
)

MEMBERS: Collection[security_group_pb2.GroupMemberBundle] = Collection(  # type: ignore[type-var]  # wants only
    service="network", name="group_members", message=security_group_pb2.GroupMemberBundle
)

NEIGHBORS: Collection[neighbor_pb2.NeighborBundle] = Collection(  # type: ignore[type-var]  # wants only
    service="network", name="neighbors", message=neighbor_pb2.NeighborBundle
)

QOS_POLICIES = Collection(
    service="network",
    name="qos_policies",
    message=qos_pb2.QosPolicy,
    claims=lambda policy: [("default", policy.meta.project_id)] if policy.spec.is_default else [],
    want=qos_pb2.QosPolicyWant,
    output_only=("rules",),
)

QOS_RULES = Collection(
    service="network",
    name="qos_rules",
    message=qos_pb2.QosRule,
    claims=lambda rule: [("kind", f"{rule.spec.policy_id}/{rule.spec.type}/{rule.spec.direction}")],
    indexes={"policy": lambda rule: (rule.spec.policy_id,)},
)


def _template(rule: default_security_group_rule_pb2.DefaultSecurityGroupRule) -> Iterable[tuple[str, str]]:
    """Two templates for one kind of group do not say the same."""
    for kind, used in (("default", rule.used_in_default), ("custom", rule.used_in_custom)):
        if used and not rule.withdrawn:
            yield "template", f"{kind}/{rule_digest(rule.spec)}"


TEMPLATES = Collection(
    service="network",
    name="default_security_group_rules",
    message=default_security_group_rule_pb2.DefaultSecurityGroupRule,
    claims=_template,
    indexes={
        "remote": lambda template: (
            (template.spec.remote_address_group_id,) if template.spec.remote_address_group_id else ()
        ),
    },
)

ADDRESS_GROUPS = Collection(service="network", name="address_groups", message=address_group_pb2.AddressGroup)

SUBNET_POOLS = Collection(
    service="network",
    name="subnet_pools",
    message=subnet_pool_pb2.SubnetPool,
    claims=lambda pool: [("default", str(pool.spec.ip_version))] if pool.spec.is_default else [],
    charges=lambda _: {POOL_LIMIT: 1},
    indexes={"scope": lambda pool: (pool.spec.address_scope_id,) if pool.spec.address_scope_id else ()},
)

ADDRESS_SCOPES = Collection(service="network", name="address_scopes", message=address_scope_pb2.AddressScope)

RBAC_POLICIES = Collection(
    service="network",
    name="rbac_policies",
    message=rbac_policy_pb2.RbacPolicy,
    claims=lambda policy: [
        ("grant", f"{policy.spec.object_id}/{policy.spec.action}/{policy.spec.target}"),
    ],
    charges=lambda policy: {} if policy.spec.target == ANYBODY else {RBAC_LIMIT: 1},
    indexes={
        "object": lambda policy: (policy.spec.object_id,),
        "target": lambda policy: (f"{policy.spec.object_type}/{policy.spec.target}",),
    },
)

METERING_LABELS = Collection(
    service="network",
    name="metering_labels",
    message=metering_pb2.MeteringLabel,
    indexes={"shared": lambda label: ("1",) if label.spec.shared else ()},
    want=metering_pb2.MeteringLabelWant,
    status=metering_pb2.MeteringLabelStatus,
)

METERING_RULES = Collection(
    service="network",
    name="metering_label_rules",
    message=metering_pb2.MeteringLabelRule,
    indexes={"label": lambda rule: (rule.spec.metering_label_id,)},
)


def _joined(trunk: trunk_pb2.Trunk) -> Iterable[tuple[str, str]]:
    """A port is of one trunk at most, as its parent or with a tag."""
    yield "port", trunk.spec.port_id
    for sub in trunk.spec.sub_ports:
        yield "port", sub.port_id


TRUNKS = Collection(
    service="network",
    name="trunks",
    message=trunk_pb2.Trunk,
    claims=_joined,
    indexes={"parent": lambda trunk: (trunk.spec.port_id,)},
    node=lambda trunk: trunk.node,
    wanted=True,
    status=trunk_pb2.TrunkStatus,
)

LOGS = Collection(
    service="network",
    name="logs",
    message=log_pb2.Log,
    indexes={"of": lambda log: {log.spec.resource_id, log.spec.target_id} - {""}},
    want=log_pb2.Log,
)

FLAVORS = Collection(
    service="network",
    name="flavors",
    message=flavor_pb2.Flavor,
    indexes={"profile": lambda flavor: flavor.spec.service_profile_ids},
)

SERVICE_PROFILES = Collection(service="network", name="service_profiles", message=flavor_pb2.ServiceProfile)

SEGMENT_RANGES = Collection(
    service="network",
    name="network_segment_ranges",
    message=network_segment_range_pb2.NetworkSegmentRange,
    output_only=("status",),
)

TOPOLOGIES = Collection(
    service="network",
    name="auto_allocated_topologies",
    message=auto_allocated_topology_pb2.AutoAllocatedTopology,
)

AGENT_ROLES = ("", "dhcp", "l3")  # what a node's agent is known as
_AGENT_NAMESPACE = uuid.UUID("7f0c9f7e-2c0a-4f0b-9c43-0c4b1f6a5d21")


def agent_id(node: str, role: str = "") -> str:
    """The id of the node's agent in that role: the same at each of its lives."""
    return str(uuid.uuid5(_AGENT_NAMESPACE, f"{node}/{role}" if role else node))


AGENTS = Collection(
    service="network",
    name="agents",
    message=agent_pb2.Agent,
    status=agent_pb2.AgentStatus,
    indexes={"role": lambda agent: [agent_id(agent.spec.node, role) for role in AGENT_ROLES]},
)

ROUTERS = Collection(
    service="network",
    name="routers",
    message=router_pb2.Router,
    charges=lambda _: {ROUTER_LIMIT: 1},
    indexes={
        "node": lambda router: (router.node,),
        "flavor": lambda router: (router.spec.flavor_id,) if router.spec.flavor_id else (),
        "qos_policy": lambda router: {g.qos_policy_id for g in router.spec.external_gateways} - {""},
    },
    node=lambda router: router.node,
    want=router_pb2.RouterWant,
    status=router_pb2.RouterStatus,
)


def _translation(floating: floating_ip_pb2.FloatingIp) -> Iterable[tuple[str, str]]:
    """An address of a port has one floating IP on an external network."""
    spec = floating.spec
    if spec.port_id:
        yield "fixed", f"{spec.port_id}/{spec.fixed_ip_address}/{spec.floating_network_id}"


FLOATING_IPS = Collection(
    service="network",
    name="floating_ips",
    message=floating_ip_pb2.FloatingIp,
    singular="floating ip",
    claims=_translation,
    charges=lambda _: {FLOATING_LIMIT: 1},
    indexes={
        "network": lambda floating: (floating.spec.floating_network_id,),
        "address": lambda floating: (floating.spec.floating_ip_address,),
        "port": lambda floating: (floating.spec.port_id,) if floating.spec.port_id else (),
        "router": lambda floating: (floating.spec.router_id,) if floating.spec.router_id else (),
        "qos_policy": lambda floating: (floating.spec.qos_policy_id,) if floating.spec.qos_policy_id else (),
    },
    output_only=("status", "port", "port_forwardings", "qos_network_policy_id"),
)

PORT_FORWARDINGS = Collection(
    service="network",
    name="port_forwardings",
    message=port_forwarding_pb2.PortForwarding,
    indexes={
        "floating_ip": lambda forwarding: (forwarding.spec.floating_ip_id,),
        "port": lambda forwarding: (forwarding.spec.internal_port_id,),
        "router": lambda forwarding: (forwarding.spec.router_id,),
    },
    output_only=("floating_ip_address",),
)

COLLECTIONS: list[Collection[Any]] = [
    NETWORKS,
    SUBNETS,
    PORTS,
    SECURITY_GROUPS,
    RULES,
    MEMBERS,
    NEIGHBORS,
    TEMPLATES,
    ADDRESS_GROUPS,
    SUBNET_POOLS,
    ADDRESS_SCOPES,
    RBAC_POLICIES,
    SEGMENT_RANGES,
    TOPOLOGIES,
    AGENTS,
    QOS_POLICIES,
    QOS_RULES,
    ROUTERS,
    FLOATING_IPS,
    PORT_FORWARDINGS,
    METERING_LABELS,
    METERING_RULES,
    TRUNKS,
    LOGS,
    FLAVORS,
    SERVICE_PROFILES,
]

LIMITS = {
    NETWORK_LIMIT: 100,
    SUBNET_LIMIT: 100,
    PORT_LIMIT: 500,
    GROUP_LIMIT: 10,
    RULE_LIMIT: 100,
    POOL_LIMIT: UNLIMITED,
    RBAC_LIMIT: 10,
    ROUTER_LIMIT: 10,
    FLOATING_LIMIT: 50,
}
