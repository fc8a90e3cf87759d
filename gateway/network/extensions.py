"""Networking API v2.0, sections "Extensions" and "Service providers": what there is beyond the core."""

from fabric.network.v1 import agent_pb2 as pb
from fabric.network.v1.agent_pb2_grpc import AgentServiceStub
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network.resource import PREFIX

_EXTENSIONS = {  # alias: name, description, updated
    "aap-reject-multicast": (
        "Allowed address pairs reject multicast",
        "Pairs with multicast addresses are refused",
        "2026-04-01T00:00:00-00:00",
    ),
    "address-group": (
        "Address group",
        "Support address group",
        "2020-07-15T10:00:00-00:00",
    ),
    "address-scope": (
        "Address scope",
        "Address scopes extension.",
        "2015-07-26T10:00:00-00:00",
    ),
    "agent": ("agent", "The agent management extension.", "2013-02-03T10:00:00-00:00"),
    "allowed-address-pairs": (
        "Allowed Address Pairs",
        "Provides allowed address pairs",
        "2013-07-23T10:00:00-00:00",
    ),
    "auto-allocated-topology": (
        "Auto Allocated Topology Services",
        "Auto Allocated Topology Services.",
        "2016-01-01T00:00:00-00:00",
    ),
    "availability_zone": (
        "Availability Zone",
        "The availability zone extension.",
        "2015-01-01T10:00:00-00:00",
    ),
    "availability_zone_filter": (
        "Availability Zone Filter Extension",
        "Add filter parameters to AvailabilityZone resource",
        "2018-06-22T10:00:00-00:00",
    ),
    "binding": ("Port Binding", "Expose port bindings of a virtual port", "2014-02-03T10:00:00-00:00"),
    "default-subnetpools": (
        "Default Subnetpools",
        "Provides ability to mark and use a subnetpool as the default.",
        "2016-02-18T18:00:00-00:00",
    ),
    "dhcp_agent_scheduler": (
        "DHCP Agent Scheduler",
        "Schedule networks among dhcp agents",
        "2013-02-07T10:00:00-00:00",
    ),
    "dns-integration": ("DNS Integration", "Provides integration with DNS.", "2015-08-15T18:00:00-00:00"),
    "ext-gw-mode": (
        "Neutron L3 Configurable external gateway mode",
        "Extension of the router abstraction for specifying whether SNAT should occur on the external gateway",
        "2013-03-28T10:00:00-00:00",
    ),
    "enable-default-route-ecmp": (
        "Enable Default Route ECMP",
        "Enables configurable ECMP behavior for default routes",
        "2023-02-27T00:00:00-00:00",
    ),
    "expose-port-forwarding-in-fip": (
        "Expose Floating IP port forwardings",
        "Expose port forwarding fields in floating IP response",
        "2018-06-28T16:00:00-00:00",
    ),
    "external-gateway-multihoming": (
        "Neutron L3 External Gateway Multihoming",
        "Allow multiple external gateway ports per router",
        "2023-01-18T00:00:00-00:00",
    ),
    "external-net": (
        "Neutron external network",
        "Adds external network attribute",
        "2013-01-14T10:00:00-00:00",
    ),
    "extra_dhcp_opt": ("Neutron Extra DHCP options", "Extra options of DHCP", "2013-03-17T12:00:00-00:00"),
    "extraroute": (
        "Neutron Extra Route",
        "Extra routes configuration for L3 router",
        "2013-02-01T10:00:00-00:00",
    ),
    "extraroute-atomic": (
        "Atomically add/remove extra routes",
        "Edit extra routes of a router on server side by atomically adding/removing extra routes",
        "2019-07-10T00:00:00+00:00",
    ),
    "filter-validation": (
        "Filter parameters validation",
        "Provides validation on filter parameters.",
        "2018-03-21T10:00:00-00:00",
    ),
    "fip-port-details": (
        "Floating IP Port Details Extension",
        "Add port_details attribute to Floating IP resource",
        "2018-04-09T10:00:00-00:00",
    ),
    "floating-ip-port-forwarding": (
        "Floating IP Port Forwarding",
        "Allow port forwarding from floating IP port to an internal port",
        "2018-01-19T10:00:00-00:00",
    ),
    "floating-ip-port-forwarding-description": (
        "Floating IP Port Forwarding new attribute description",
        "Add a description field to Port Forwarding rules",
        "2019-11-01T10:00:00-00:00",
    ),
    "floating-ip-port-forwarding-detail": (
        "Floating IP port forwarding detail",
        "Allow list floating ip return more port forwarding data",
        "2022-05-06T10:00:00-00:00",
    ),
    "floating-ip-port-forwarding-port-ranges": (
        "Floating IP Port Forwarding support port ranges",
        "Add support to port ranges",
        "2020-07-01T10:00:00-00:00",
    ),
    "floatingip-autodelete-internal": (
        "Autodelete floating IPs of internal networks",
        "Those that lead nowhere go when their network is no longer external",
        "2019-01-24T00:00:00-00:00",
    ),
    "floatingip-pools": (
        "Floating IP Pools Extension",
        "Provides a floating IP pools API.",
        "2018-03-21T10:00:00-00:00",
    ),
    "flavors": (
        "Neutron Service Flavors",
        "Kinds of a network service that operators offer",
        "2015-09-17T10:00:00-00:00",
    ),
    "ip-substring-filtering": (
        "IP address substring filtering",
        "Provides IP address substring filtering when listing ports",
        "2017-11-28T09:00:00-00:00",
    ),
    "l3-ha": (
        "HA Router extension",
        "Adds HA capability to routers.",
        "2014-04-26T00:00:00-00:00",
    ),
    "ip_allocation": (
        "IP Allocation",
        "Says when a port gets its addresses",
        "2016-06-10T23:00:00-00:00",
    ),
    "l2_adjacency": (
        "L2 Adjacency",
        "Says whether the ports of a network reach each other without a router",
        "2016-04-12T16:00:00-00:00",
    ),
    "l3-flavors": ("Router Flavor Extension", "Flavor support for routers.", "2016-05-17T00:00:00-00:00"),
    "l3_agent_scheduler": (
        "L3 Agent Scheduler",
        "Schedule routers among l3 agents",
        "2013-02-07T10:00:00-00:00",
    ),
    "logging": (
        "Logging API Extension",
        "Logs of what security groups let pass or drop",
        "2017-01-01T10:00:00-00:00",
    ),
    "metering": ("Neutron Metering", "Counts what passes routers", "2013-06-12T10:00:00-00:00"),
    "metering_source_and_destination_fields": (
        "Neutron Metering with source and destination filtering",
        "Rules of metering labels name the prefixes of both sides",
        "2020-08-21T08:12:00-00:00",
    ),
    "multi-provider": (
        "Multi Provider Network",
        "A network may lead through several segments",
        "2013-06-27T10:00:00-00:00",
    ),
    "net-mtu": ("Network MTU", "Provides MTU attribute for a network", "2015-03-25T10:00:00-00:00"),
    "net-mtu-writable": (
        "Network MTU (writable)",
        "Provides a writable MTU attribute for a network",
        "2017-07-12T00:00:00-00:00",
    ),
    "network-ip-availability": (
        "Network IP Availability",
        "Provides IP availability data for each network and subnet.",
        "2015-09-24T00:00:00-00:00",
    ),
    "network-segment-range": (
        "Neutron Network Segment Range",
        "Provides support for the network segment range management",
        "2018-11-29T00:00:00-00:00",
    ),
    "network_availability_zone": (
        "Network Availability Zone",
        "Availability zone support for network.",
        "2015-01-01T10:00:00-00:00",
    ),
    "pagination": (
        "Pagination support",
        "Extension that indicates that pagination is enabled.",
        "2016-06-12T00:00:00-00:00",
    ),
    "port-mac-address-regenerate": (
        "Neutron Port MAC address regenerate",
        "Network port MAC address regenerate",
        "2018-05-03T10:00:00-00:00",
    ),
    "port-security": ("Port Security", "Provides port security", "2012-07-23T10:00:00-00:00"),
    "port-security-groups-filtering": (
        "Port filtering on security groups",
        "Provides security groups filtering when listing ports",
        "2018-01-09T09:00:00-00:00",
    ),
    "project-id": (
        "project_id field enabled",
        "Extension that indicates that project_id field is enabled.",
        "2016-09-09T09:09:09-09:09",
    ),
    "provider": (
        "Provider Network",
        "Expose mapping of virtual networks to physical networks",
        "2012-09-07T10:00:00-00:00",
    ),
    "qos": ("Quality of Service", "The Quality of Service extension.", "2015-06-08T10:00:00-00:00"),
    "qos-bw-limit-direction": (
        "Direction for QoS bandwidth limit rule",
        "Limits hold from the server, or to it",
        "2017-04-10T10:00:00-00:00",
    ),
    "qos-default": (
        "QoS default policy",
        "A policy for new networks of a project",
        "2017-04-06T10:00:00-00:00",
    ),
    "qos-fip": (
        "Floating IP QoS",
        "The floating IP Quality of Service extension",
        "2017-07-20T00:00:00-00:00",
    ),
    "qos-fip-network-policy": (
        "QoS floating IP network policy ID",
        "A floating IP without a policy goes by that of its network",
        "2019-09-13T10:00:00-00:00",
    ),
    "qos-gateway-ip": (
        "Gateway IP QoS",
        "The gateway IP Quality of Service extension",
        "2018-09-17T00:00:00-00:00",
    ),
    "qos-port-network-policy": (
        "QoS port network policy ID",
        "Shows the policy of a port's network with the port",
        "2019-11-01T10:00:00-00:00",
    ),
    "qos-pps": (
        "QoS Rule Type Packet per Second Extension",
        "Limits of packets per second",
        "2021-05-12T10:00:00-00:00",
    ),
    "qos-rule-type-details": (
        "Details of QoS rule types",
        "Tells administrators what makes rules true, with which parameters",
        "2017-06-22T10:00:00-00:00",
    ),
    "qos-rule-type-filter": (
        "Filter of the list of QoS rule types",
        "What nodes can do, or all that can be written down",
        "2022-02-02T10:00:00-00:00",
    ),
    "qos-rules-alias": (
        "Quality of Service rules alias API",
        "Rules are reached without the id of their policy",
        "2018-10-07T10:00:00-00:00",
    ),
    "quota-check-limit": (
        "Quota engine limit check",
        "Support for checking the resource usage before applying a new quota limit",
        "2021-03-30T18:00:00-00:00",
    ),
    "quota-check-limit-default": (
        "Quota engine limit check by default",
        "A quota below what is in use is refused unless it is forced",
        "2024-08-21T16:00:00-00:00",
    ),
    "quota_details": (
        "Quota details management support",
        "Expose functions for quotas usage statistics per project",
        "2017-02-10T10:00:00-00:00",
    ),
    "quotas": (
        "Quota management support",
        "Expose functions for quotas management per project",
        "2012-07-29T10:00:00-00:00",
    ),
    "rbac-address-group": (
        "Add address_group type to RBAC",
        "Add address_group type to RBAC",
        "2022-04-26T10:00:00-00:00",
    ),
    "rbac-address-scope": (
        "Add address_scope type to RBAC",
        "Add address_scope type to network RBAC",
        "2018-12-11T00:00:00-00:00",
    ),
    "rbac-policies": (
        "RBAC Policies",
        "Allows creation and modification of policies that control tenant access to resources.",
        "2015-06-17T12:15:12-00:00",
    ),
    "rbac-security-groups": (
        "Add security_group type to network RBAC",
        "Add security_group type to network RBAC",
        "2018-12-10T00:00:00-00:00",
    ),
    "rbac-subnetpool": (
        "Add subnetpool type to RBAC",
        "Add subnetpool type to RBAC",
        "2018-12-12T00:00:00-00:00",
    ),
    "revision-if-match": (
        "If-Match constraints based on revision_number",
        "Extension indicating that If-Match based on revision_number is supported.",
        "2016-12-11T00:00:00-00:00",
    ),
    "router": (
        "Neutron L3 Router",
        "Router abstraction for basic L3 forwarding between L2 Neutron networks and access to external networks "
        "via a NAT gateway.",
        "2012-07-20T10:00:00-00:00",
    ),
    "router-enable-snat": (
        "Router enable_snat flag",
        "Says whether gateways translate unless they are told otherwise",
        "2025-09-18T18:00:00-00:00",
    ),
    "router_availability_zone": (
        "Router Availability Zone",
        "Availability zone support for router.",
        "2015-01-01T10:00:00-00:00",
    ),
    "security-group": ("security-group", "The security groups extension.", "2012-10-05T10:00:00-00:00"),
    "security-groups-default-rules": (
        "Default security group rules",
        "Configure set of security group rules used as default rules for every new security group",
        "2022-12-19T10:00:00-00:00",
    ),
    "security-groups-normalized-cidr": (
        "Normalized CIDR field for security group rules",
        "Add new field with normalized remote_ip_prefix cidr in SG rule",
        "2019-04-04T10:00:00-00:00",
    ),
    "security-groups-remote-address-group": (
        "Remote address group id field for security group rules",
        "Add new field of remote address group id in SG rules",
        "2020-08-25T09:00:00-00:00",
    ),
    "security-groups-rules-belongs-to-default-sg": (
        "Rules of default security groups",
        "Says whether a rule is of its project's default security group",
        "2023-05-23T10:00:00-00:00",
    ),
    "security-groups-shared-filtering": (
        "Security group filtering on the shared field",
        "Support filtering security groups on the shared field",
        "2021-10-05T09:00:00-00:00",
    ),
    "service-type": (
        "Neutron Service Type Management",
        "API for retrieving service providers",
        "2013-01-20T00:00:00-00:00",
    ),
    "sort-key-validation": (
        "Sort keys validation",
        "Unknown sort keys are refused",
        "2018-07-04T10:00:00-00:00",
    ),
    "sorting": (
        "Sorting support",
        "Extension that indicates that sorting is enabled.",
        "2016-06-12T00:00:00-00:00",
    ),
    "standard-attr-description": (
        "standard-attr-description",
        "Extension to add descriptions to standard attributes",
        "2016-02-10T10:00:00-00:00",
    ),
    "standard-attr-revisions": (
        "Resource revision numbers",
        "Shows the revision number of resources.",
        "2016-04-11T10:00:00-00:00",
    ),
    "standard-attr-tag": (
        "Tag support: floatingip, network, port, router, security_group, subnet, subnetpool",
        "Enables to set tag on resources with standard attribute.",
        "2017-01-01T00:00:00-00:00",
    ),
    "standard-attr-timestamp": (
        "Resource timestamps",
        "Adds created_at and updated_at to the resources with standard attributes.",
        "2016-09-12T10:00:00-00:00",
    ),
    "stateful-security-group": (
        "Stateful security group",
        "Indicates if the security group is stateful or not",
        "2019-11-26T09:00:00-00:00",
    ),
    "subnet-dns-publish-fixed-ip": (
        "Subnet DNS publish fixed IP",
        "Add dns_publish_fixed_ip to subnets",
        "2019-05-09T10:00:00-00:00",
    ),
    "subnet-external-network": (
        "Subnet belongs to an external network",
        "Informs if the subnet belongs to an external network",
        "2023-01-01T00:00:00-00:00",
    ),
    "subnet-service-types": (
        "Subnet service types",
        "Provides ability to set the subnet service_types field",
        "2016-03-15T18:00:00-00:00",
    ),
    "empty-string-filtering": (
        "Empty String Filtering Extension",
        "Allow filtering by attributes with empty string value",
        "2018-05-01T10:00:00-00:00",
    ),
    "subnet_allocation": (
        "Subnet Allocation",
        "Enables allocation of subnets from a subnet pool",
        "2015-03-30T10:00:00-00:00",
    ),
    "subnet_onboard": (
        "Subnet Onboard",
        "Provides support for onboarding subnets into subnet pools",
        "2018-12-19T10:00:00-00:00",
    ),
    "subnetpool-prefix-ops": (
        "Subnet Pool Prefix Operations",
        "Provides support for adjusting the prefix list of subnet pools",
        "2019-02-08T10:00:00-00:00",
    ),
    "tag": ("Tag support", "Enables to set tag on resources.", "2016-01-01T00:00:00-00:00"),
    "tag-creation": (
        "Tag creation extension",
        "Several tags can be added to a resource at once",
        "2024-07-23T10:00:00-00:00",
    ),
    "tag-ext": (
        "Tag support for resources: subnet, port, router, floatingip",
        "Extends tag support to more L2 resources.",
        "2017-01-01T00:00:00-00:00",
    ),
    "tag-ports-during-bulk-creation": (
        "Tag Ports During Bulk Creation",
        "Ports can be made with their tags, one and many",
        "2019-12-29T19:00:00-00:00",
    ),
    "trunk": ("Trunk Extension", "Provides support for trunk ports", "2016-01-01T00:00:00-00:00"),
    "trunk-details": ("Trunk port details", "Expose trunk port details", "2016-01-01T00:00:00-00:00"),
}


_NEEDS = {"logging": "logging", "trunk": "trunk", "trunk-details": "trunk"}  # alias: a feature of nodes


def _document(alias: str) -> JsonValue:
    name, description, updated = _EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": description, "updated": updated, "links": []}


async def _features(request: Request) -> set[str]:
    """What of the kernel's some node has. The list is no secret, but it is for those who have a token."""
    reply = await request.call(request.stub(AgentServiceStub).ListZones, pb.ListZonesRequest())
    return set(reply.features)


def _works(alias: str, features: set[str]) -> bool:
    return alias in _EXTENSIONS and (alias not in _NEEDS or _NEEDS[alias] in features)


async def list_extensions(request: Request) -> Response:
    features = await _features(request)
    found = [_document(alias) for alias in sorted(_EXTENSIONS) if _works(alias, features)]
    return Response(200, {"extensions": found})


async def show_extension(request: Request) -> Response:
    alias = request.params["alias"]
    if not _works(alias, await _features(request)):
        raise Fault(404, f"Extension with alias {alias[:64]} does not exist", reason="EXTENSION_NOT_FOUND")
    return Response(200, {"extension": _document(alias)})


async def list_service_providers(request: Request) -> Response:
    """What stands for routers, VPN and firewalls: of these there are routers, and they are all alike."""
    await _features(request)
    provider: dict[str, JsonValue] = {"service_type": "L3_ROUTER_NAT", "name": "fabric", "default": True}
    asked = {name: request.args(name) for name in provider if request.args(name)}
    fits = all(str(provider[name]).lower() in map(str.lower, values) for name, values in asked.items())
    return Response(200, {"service_providers": [provider] if fits else []})


routes = [
    Route("GET", f"{PREFIX}/extensions", list_extensions),
    Route("GET", f"{PREFIX}/extensions/{{alias}}", show_extension),
    Route("GET", f"{PREFIX}/service-providers", list_service_providers),
]
