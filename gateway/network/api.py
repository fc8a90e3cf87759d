"""The Networking API v2.0 (Neutron)."""

import dataclasses
from collections.abc import Iterator

from gateway.core.dialect import Api
from gateway.core.discovery import ApiVersion
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network import (
    address_groups,
    address_scopes,
    agents,
    auto_topologies,
    default_security_group_rules,
    dhcp_scheduler,
    extensions,
    flavors,
    floating_ips,
    ip_availability,
    logs,
    metering,
    networks,
    port_forwardings,
    ports,
    qos,
    quotas,
    rbac_policies,
    router_scheduler,
    routers,
    security_groups,
    segment_ranges,
    segments,
    subnet_pools,
    subnets,
    trunks,
)
from gateway.network.dialect import NetworkDialect
from gateway.network.resource import PREFIX

V2 = ApiVersion("v2.0", "v2.0/")
COLLECTIONS = {  # singular: plural
    "network": "networks",
    "subnet": "subnets",
    "port": "ports",
    "security_group": "security-groups",
    "security_group_rule": "security-group-rules",
    "policy": "policies",
    "rule_type": "rule-types",
    "default_security_group_rule": "default-security-group-rules",
    "network_segment_range": "network-segment-ranges",
    "segment": "segments",
    "address_group": "address-groups",
    "subnetpool": "subnetpools",
    "address_scope": "address-scopes",
    "rbac_policy": "rbac-policies",
    "router": "routers",
    "floatingip": "floatingips",
    "floatingip_pool": "floatingip_pools",
    "trunk": "trunks",
    "log": "logs",
    "loggable_resource": "loggable-resources",
    "metering_label": "metering-labels",
    "metering_label_rule": "metering-label-rules",
    "flavor": "flavors",
    "service_profile": "service_profiles",
    "quota": "quotas",
    "agent": "agents",
    "availability_zone": "availability_zones",
    "network_ip_availability": "network-ip-availabilities",
    "extension": "extensions",
    "service_provider": "service-providers",
}


async def versions(request: Request) -> Response:
    return Response(200, {"versions": [V2.document(request)]})


async def resources(request: Request) -> Response:
    links = [
        {
            "links": [{"rel": "self", "href": f"{request.api_url}{PREFIX}/{plural}"}],
            "name": singular,
            "collection": plural.replace("-", "_"),
        }
        for singular, plural in COLLECTIONS.items()
    ]
    return Response(200, {"resources": links})


def spelled(route: Route) -> Iterator[Route]:
    """A collection's words may be joined by dashes or underscores, as in Neutron; clients use either."""
    yield route
    before, version, name, *rest = route.path.split("/", 3)
    for joint, other in ("-_", "_-"):
        if joint in name:
            path = "/".join([before, version, name.replace(joint, other), *rest])
            yield dataclasses.replace(route, path=path)


API = Api(
    name="network",
    dialect=NetworkDialect(),
    routes=[
        Route("GET", "/", versions, public=True),
        Route("GET", PREFIX, resources, public=True),
        *(
            route
            for part in (
                networks,
                subnets,
                ports,
                security_groups,
                qos,
                default_security_group_rules,
                segment_ranges,
                segments,
                address_groups,
                subnet_pools,
                address_scopes,
                rbac_policies,
                routers,
                floating_ips,
                port_forwardings,
                router_scheduler,
                metering,
                logs,
                trunks,
                flavors,
                quotas,
                agents,
                dhcp_scheduler,
                auto_topologies,
                ip_availability,
                extensions,
            )
            for known in part.routes
            for route in spelled(known)
        ),
    ],
)
