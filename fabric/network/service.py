"""The gRPC services of networks."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from fabric.network.address_group import AddressGroups
from fabric.network.address_scope import AddressScopes
from fabric.network.agent import Agents
from fabric.network.allocation import Allocator
from fabric.network.auto_topology import AutoAllocatedTopologies
from fabric.network.default_group import DefaultGroups
from fabric.network.default_rule import DefaultRules
from fabric.network.dhcp import Dhcp
from fabric.network.flavor import Flavors, ServiceProfiles
from fabric.network.floating_ip import FloatingIps
from fabric.network.ip_availability import IpAvailabilities
from fabric.network.log import Logs
from fabric.network.metering import MeteringLabels, MeteringRules
from fabric.network.network import Networks
from fabric.network.own_port import Plugs
from fabric.network.own_segment import Segments
from fabric.network.port import Ports
from fabric.network.port_forwarding import PortForwardings
from fabric.network.qos_policy import QosPolicies, QosRules
from fabric.network.quota import QuotaSets
from fabric.network.rbac_policy import RbacPolicies
from fabric.network.record import NetworkResource
from fabric.network.router import Routers
from fabric.network.security_group import SecurityGroupRules, SecurityGroups
from fabric.network.segment_range import SegmentRanges
from fabric.network.sharing import SharedResource
from fabric.network.subnet import Subnets
from fabric.network.subnet_pool import SubnetPools
from fabric.network.trunk import Trunks
from fabric.network.v1 import (
    address_group_pb2,
    address_scope_pb2,
    agent_pb2,
    auto_allocated_topology_pb2,
    default_security_group_rule_pb2,
    dhcp_pb2,
    flavor_pb2,
    floating_ip_pb2,
    ip_availability_pb2,
    log_pb2,
    metering_pb2,
    network_pb2,
    network_segment_range_pb2,
    port_forwarding_pb2,
    port_pb2,
    qos_pb2,
    quota_pb2,
    rbac_policy_pb2,
    router_pb2,
    security_group_pb2,
    segment_pb2,
    subnet_pb2,
    subnet_pool_pb2,
    trunk_pb2,
)
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.policy import Policy
from fabric.runtime.resource import methods, plural
from fabric.runtime.rpc import Method, Server
from fabric.runtime.store import Store

PUBLIC: frozenset[str] = frozenset()


def register(server: Server, store: Store, policy: Policy, config: Config, client: Client) -> None:
    """Add the services to the server."""
    groups = DefaultGroups(store)
    allocator = Allocator(store)
    plugs = Plugs(store, allocator)
    networks = Networks(store, policy, config)
    subnets = Subnets(store, policy)
    ports = Ports(store, policy, config, groups, allocator)
    _add(server, network_pb2, "NetworkService", {"Network": networks})
    _add(server, subnet_pb2, "SubnetService", {"Subnet": subnets})
    _add(server, port_pb2, "PortService", {"Port": ports})
    routers = Routers(store, policy, config, plugs, ports, subnets)
    _add(server, router_pb2, "RouterService", {"Router": routers}, routers)
    floating = FloatingIps(store, policy, plugs, networks, ports)
    _add(server, floating_ip_pb2, "FloatingIpService", {"FloatingIp": floating}, floating)
    forwardings = PortForwardings(store, policy, plugs, floating, ports)
    _add(server, port_forwarding_pb2, "PortForwardingService", {"PortForwarding": forwardings})
    security_groups = SecurityGroups(store, policy, groups)
    _add(
        server,
        security_group_pb2,
        "SecurityGroupService",
        {
            "SecurityGroup": security_groups,
            "SecurityGroupRule": SecurityGroupRules(store, policy, groups),
        },
    )
    qos = QosPolicies(store, policy)
    rules = QosRules(store, policy, qos)
    _add(server, qos_pb2, "QosService", {"QosPolicy": qos, "QosRule": rules}, qos)
    pools, scopes = SubnetPools(store, policy), AddressScopes(store, policy)
    _add(server, subnet_pool_pb2, "SubnetPoolService", {"SubnetPool": pools}, pools)
    _add(server, address_scope_pb2, "AddressScopeService", {"AddressScope": scopes})
    addresses = AddressGroups(store, policy)
    _add(server, address_group_pb2, "AddressGroupService", {"AddressGroup": addresses}, addresses)
    ranges = {"NetworkSegmentRange": SegmentRanges(store, policy)}
    _add(server, network_segment_range_pb2, "NetworkSegmentRangeService", ranges)
    templates = {"DefaultSecurityGroupRule": DefaultRules(store, policy)}
    _add(server, default_security_group_rule_pb2, "DefaultSecurityGroupRuleService", templates)
    shared: list[SharedResource[Any]] = [networks, security_groups, qos, pools, scopes, addresses]
    rbac = RbacPolicies(store, policy, {resource.object_type: resource for resource in shared})
    _add(server, rbac_policy_pb2, "RbacPolicyService", {"RbacPolicy": rbac})
    labels = MeteringLabels(store, policy)
    meters: dict[str, NetworkResource[Any]] = {
        "MeteringLabel": labels,
        "MeteringLabelRule": MeteringRules(store, policy, labels),
    }
    _add(server, metering_pb2, "MeteringService", meters)
    trunks = Trunks(store, policy, ports)
    _add(server, trunk_pb2, "TrunkService", {"Trunk": trunks}, trunks)
    logs = Logs(store, policy)
    _add(server, log_pb2, "LogService", {"Log": logs}, logs)
    flavors = Flavors(store, policy)
    kinds: dict[str, NetworkResource[Any]] = {
        "Flavor": flavors,
        "ServiceProfile": ServiceProfiles(store, policy),
    }
    _add(server, flavor_pb2, "FlavorService", kinds, flavors)
    agents = Agents(store, policy)
    _add(server, agent_pb2, "AgentService", {"Agent": agents}, agents)
    for module, name, servant in (
        (dhcp_pb2, "DhcpService", Dhcp(store, policy, networks)),
        (segment_pb2, "SegmentService", Segments(store, policy, networks, config.network)),
        (
            auto_allocated_topology_pb2,
            "AutoAllocatedTopologyService",
            AutoAllocatedTopologies(store, policy, networks, subnets, routers),
        ),
        (quota_pb2, "QuotaService", QuotaSets(store, policy)),
        (ip_availability_pb2, "IpAvailabilityService", IpAvailabilities(store, policy, networks)),
    ):
        service = module.DESCRIPTOR.services_by_name[name]
        server.add(service, methods(service, {}, servant))


def _add(
    server: Server,
    module: Any,
    name: str,
    resources: Mapping[str, NetworkResource[Any]],
    extra: object = None,
) -> None:
    service: ServiceDescriptor = module.DESCRIPTOR.services_by_name[name]
    found = methods(service, resources, extra)
    for noun, resource in resources.items():
        for rpc in service.methods:
            if rpc.name == f"Create{noun}":
                found[rpc.name] = _maker(resource)
            elif rpc.name == f"BatchCreate{plural(noun)}":
                found[rpc.name] = _batch_maker(resource, GetMessageClass(rpc.output_type))
    server.add(service, found)


def _maker(resource: NetworkResource[Any]) -> Method:
    async def method(request: Any, caller: Caller) -> Any:
        return await resource.make(_first(request), request.given_mask, caller)

    return method


def _batch_maker(resource: NetworkResource[Any], reply: Any) -> Method:
    field = reply.DESCRIPTOR.fields_by_number[1].name

    async def method(request: Any, caller: Caller) -> Any:
        asked = [(_first(part), frozenset(part.given_mask.paths)) for part in request.requests]
        return reply(**{field: await resource.make_all(asked, caller)})

    return method


def _first(request: Any) -> Any:
    return getattr(request, request.DESCRIPTOR.fields_by_number[1].name)
