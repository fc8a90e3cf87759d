"""Who may do what with networks: OpenStack's rule names with its secure defaults."""

from collections.abc import Iterable, Mapping

from oslo_policy.policy import DocumentedRuleDefault, RuleDefault

ADMIN = "role:admin"
SERVICE = "role:service"
READER = f"({ADMIN}) or (role:reader and project_id:%(project_id)s)"
MEMBER = f"({ADMIN}) or (role:member and project_id:%(project_id)s)"
MANAGER = f"({ADMIN}) or (role:manager and project_id:%(project_id)s)"
NET_OWNER = "project_id:%(network:project_id)s"
NET_READER = f"role:reader and {NET_OWNER}"
NET_MEMBER = f"role:member and {NET_OWNER}"
GROUP_OWNER = "project_id:%(security_group:project_id)s"
PARENT_OWNER = "project_id:%(ext_parent:project_id)s"
SHARED = "'True':%(shared)s"
EXTERNAL = "'True':%(router:external)s"
ANYBODY = "@"
NOT_ANYBODY = f"({ADMIN}) or not '*':%(target_tenant)s"

_DEVICE = f"({ADMIN}) or {SERVICE} or ({NET_MEMBER})"
_GATEWAY = {"": MEMBER, ":network_id": MEMBER, ":enable_snat": ADMIN, ":external_fixed_ips": ADMIN}


def _qos_rules(*types: str) -> Mapping[str, str]:
    """Of each type of QoS rules, and of the routes that name no policy."""
    nouns = [noun for kind in types for noun in (f"policy_{kind}_rule", f"alias_{kind}_rule")]
    read = {f"get_{noun}": f"({READER}) or {SHARED}" for noun in nouns}
    return read | {f"{verb}_{noun}": MANAGER for noun in nouns for verb in ("create", "update", "delete")}


_RULES: Mapping[str, str] = {
    "create_network": MEMBER,
    "create_network:shared": ADMIN,
    "create_network:router:external": ADMIN,
    "create_network:is_default": ADMIN,
    "create_network:port_security_enabled": MEMBER,
    "create_network:segments": ADMIN,
    "create_network:provider:network_type": ADMIN,
    "create_network:provider:physical_network": ADMIN,
    "create_network:provider:segmentation_id": ADMIN,
    "get_network": f"({READER}) or {SHARED} or {EXTERNAL} or {SERVICE}",
    "update_network": MEMBER,
    "update_network:shared": ADMIN,
    "update_network:router:external": ADMIN,
    "update_network:is_default": ADMIN,
    "update_network:port_security_enabled": MEMBER,
    "update_network:provider:network_type": ADMIN,
    "update_network:provider:physical_network": ADMIN,
    "update_network:provider:segmentation_id": ADMIN,
    "update_network:segments": ADMIN,
    "delete_network": MEMBER,
    "create_subnet": f"({ADMIN}) or ({NET_MEMBER}) or {SERVICE}",
    "create_subnet:segment_id": ADMIN,
    "create_subnet:service_types": f"({ADMIN}) or ({NET_MEMBER}) or {SERVICE}",
    "get_subnet": f"({READER}) or {SHARED} or {EXTERNAL} or ({NET_READER}) or {SERVICE}",
    "update_subnet": f"({ADMIN}) or ({NET_MEMBER}) or (role:member and project_id:%(project_id)s)",
    "update_subnet:segment_id": ADMIN,
    "update_subnet:service_types": f"({ADMIN}) or ({NET_MEMBER}) or (role:member and project_id:%(project_id)s)",
    "delete_subnet": f"({ADMIN}) or ({NET_MEMBER}) or (role:member and project_id:%(project_id)s)",
    "create_port": f"({MEMBER}) or {SERVICE}",
    "create_port:device_owner": _DEVICE,
    "create_port:mac_address": _DEVICE,
    "create_port:router:external": f"({ADMIN}) or {SERVICE} or ({NET_MEMBER}) or {SHARED}",
    "create_port:fixed_ips": f"{_DEVICE} or {SHARED}",
    "create_port:fixed_ips:ip_address": _DEVICE,
    "create_port:fixed_ips:subnet_id": f"{_DEVICE} or {SHARED}",
    "create_port:port_security_enabled": _DEVICE,
    "create_port:binding:host_id": f"({ADMIN}) or {SERVICE}",
    "create_port:binding:profile": SERVICE + f" or {ADMIN}",
    "create_port:binding:vnic_type": f"({MEMBER}) or {SERVICE}",
    "create_port:allowed_address_pairs": f"({ADMIN}) or ({NET_MEMBER}) or {SERVICE}",
    "get_port": f"({READER}) or ({NET_READER}) or {SERVICE}",
    "update_port": f"({MEMBER}) or {SERVICE}",
    "update_port:device_owner": _DEVICE,
    "update_port:mac_address": f"({ADMIN}) or {SERVICE}",
    "update_port:fixed_ips": _DEVICE,
    "update_port:fixed_ips:ip_address": _DEVICE,
    "update_port:fixed_ips:subnet_id": f"{_DEVICE} or {SHARED}",
    "update_port:port_security_enabled": _DEVICE,
    "update_port:binding:host_id": f"({ADMIN}) or {SERVICE}",
    "update_port:binding:profile": SERVICE + f" or {ADMIN}",
    "update_port:binding:vnic_type": f"({MEMBER}) or {SERVICE}",
    "update_port:allowed_address_pairs": f"({ADMIN}) or ({NET_MEMBER}) or {SERVICE}",
    "delete_port": f"({MEMBER}) or ({NET_MEMBER}) or {SERVICE}",
    "create_security_group": MEMBER,
    "get_security_group": f"({READER}) or {SHARED} or {SERVICE}",
    "update_security_group": MEMBER,
    "delete_security_group": MEMBER,
    "create_security_group_rule": MEMBER,
    "get_security_group_rule": f"({READER}) or (role:reader and {GROUP_OWNER}) or {SERVICE}",
    "delete_security_group_rule": f"({MEMBER}) or (role:member and {GROUP_OWNER})",
    "create_policy": MANAGER,
    "create_policy:shared": ADMIN,
    "get_policy": f"({READER}) or {SHARED}",
    "update_policy": MANAGER,
    "update_policy:shared": ADMIN,
    "delete_policy": MANAGER,
    "get_rule_type": ANYBODY,
    "get_rule_type:drivers": ADMIN,
    **_qos_rules("bandwidth_limit", "dscp_marking", "minimum_bandwidth", "packet_rate_limit"),
    "create_default_security_group_rule": ADMIN,
    "get_default_security_group_rule": ANYBODY,
    "delete_default_security_group_rule": ADMIN,
    "create_address_group": MEMBER,
    "get_address_group": f"({READER}) or {SHARED}",
    "update_address_group": MEMBER,
    "delete_address_group": MEMBER,
    "create_subnetpool": MEMBER,
    "create_subnetpool:shared": ADMIN,
    "create_subnetpool:is_default": ADMIN,
    "get_subnetpool": f"({READER}) or {SHARED}",
    "update_subnetpool": MEMBER,
    "update_subnetpool:is_default": ADMIN,
    "delete_subnetpool": MEMBER,
    "create_address_scope": MEMBER,
    "create_address_scope:shared": ADMIN,
    "get_address_scope": f"({READER}) or {SHARED}",
    "update_address_scope": MEMBER,
    "update_address_scope:shared": ADMIN,
    "delete_address_scope": MEMBER,
    "create_rbac_policy": MEMBER,
    "create_rbac_policy:target_tenant": NOT_ANYBODY,
    "get_rbac_policy": READER,
    "update_rbac_policy": MEMBER,
    "update_rbac_policy:target_tenant": NOT_ANYBODY,
    "delete_rbac_policy": MEMBER,
    "create_metering_label": ADMIN,
    "get_metering_label": f"({READER}) or {SHARED}",
    "delete_metering_label": ADMIN,
    "create_metering_label_rule": ADMIN,
    "get_metering_label_rule": f"({READER}) or {SHARED}",
    "delete_metering_label_rule": ADMIN,
    "create_trunk": MEMBER,
    "get_trunk": READER,
    "update_trunk": MEMBER,
    "delete_trunk": MEMBER,
    "get_subports": READER,
    "add_subports": MEMBER,
    "remove_subports": MEMBER,
    "create_log": ADMIN,
    "get_log": ADMIN,
    "update_log": ADMIN,
    "delete_log": ADMIN,
    "get_loggable_resource": ADMIN,
    "create_flavor": ADMIN,
    "get_flavor": ANYBODY,
    "update_flavor": ADMIN,
    "delete_flavor": ADMIN,
    "create_service_profile": ADMIN,
    "get_service_profile": ADMIN,
    "update_service_profile": ADMIN,
    "delete_service_profile": ADMIN,
    "create_flavor_service_profile": ADMIN,
    "delete_flavor_service_profile": ADMIN,
    "create_segment": ADMIN,
    "get_segment": ADMIN,
    "update_segment": ADMIN,
    "delete_segment": ADMIN,
    "create_network_segment_range": ADMIN,
    "get_network_segment_range": ADMIN,
    "update_network_segment_range": ADMIN,
    "delete_network_segment_range": ADMIN,
    "get_auto_allocated_topology": READER,
    "delete_auto_allocated_topology": MEMBER,
    "get_dhcp-agents": ADMIN,
    "get_dhcp-networks": ADMIN,
    "create_dhcp-network": ADMIN,
    "delete_dhcp-network": ADMIN,
    "get_agent": ADMIN,
    "update_agent": ADMIN,
    "delete_agent": ADMIN,
    "get_availability_zone": ANYBODY,
    "create_router": MEMBER,
    "create_router:distributed": ADMIN,
    "create_router:ha": ADMIN,
    "create_router:enable_default_route_ecmp": ADMIN,
    **{f"create_router:external_gateway_info{part}": rule for part, rule in _GATEWAY.items()},
    "get_router": f"({READER}) or {SERVICE}",
    "update_router": MEMBER,
    "update_router:distributed": ADMIN,
    "update_router:ha": ADMIN,
    "update_router:enable_default_route_ecmp": ADMIN,
    **{f"update_router:external_gateway_info{part}": rule for part, rule in _GATEWAY.items()},
    "delete_router": MEMBER,
    "add_router_interface": MEMBER,
    "remove_router_interface": MEMBER,
    "add_extraroutes": MEMBER,
    "remove_extraroutes": MEMBER,
    "add_external_gateways": MEMBER,
    "update_external_gateways": MEMBER,
    "remove_external_gateways": MEMBER,
    "create_l3-router": ADMIN,
    "delete_l3-router": ADMIN,
    "create_floatingip": MEMBER,
    "create_floatingip:floating_ip_address": ADMIN,
    "get_floatingip": f"({READER}) or {SERVICE}",
    "update_floatingip": MEMBER,
    "delete_floatingip": MEMBER,
    "create_floatingip_port_forwarding": f"({ADMIN}) or (role:member and {PARENT_OWNER})",
    "get_floatingip_port_forwarding": f"({ADMIN}) or (role:reader and {PARENT_OWNER})",
    "update_floatingip_port_forwarding": f"({ADMIN}) or (role:member and {PARENT_OWNER})",
    "delete_floatingip_port_forwarding": f"({ADMIN}) or (role:member and {PARENT_OWNER})",
    "get_quota": READER,
    "update_quota": ADMIN,
    "delete_quota": ADMIN,
    "get_network_ip_availability": ADMIN,
}


def _made(rules: Mapping[str, str]) -> Iterable[RuleDefault]:
    for name, check in rules.items():
        verb, _, noun = name.partition("_")
        words = noun.replace("_", " ").replace(":", ", attribute ", 1)
        yield DocumentedRuleDefault(
            name,
            check,
            f"{verb.capitalize()} a {words}.",
            [{"path": f"/v2.0/{noun.partition(':')[0]}s", "method": _METHODS[verb]}],
        )


_METHODS = {
    "create": "POST",
    "get": "GET",
    "update": "PUT",
    "delete": "DELETE",
    "add": "PUT",
    "remove": "PUT",
}

RULES = list(_made(_RULES))
