"""Networking API v2.0, section "Ports"."""

from typing import Any, cast

from google.protobuf.message import Message

from fabric.network.v1 import port_pb2 as pb
from fabric.network.v1.port_pb2_grpc import PortServiceStub
from gateway.core.codec import Enum, Integer, IpAddress, Json, JsonValue, List, Text
from gateway.core.http import Request
from gateway.core.table import Field, Object, Table
from gateway.network import trunks
from gateway.network.codec import Mac
from gateway.network.resource import ADMIN, BOOL, BOTH, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

STATUS = Enum(pb.PortStatus.State, names={"STATE_BUILDING": "BUILD"}, unset="DOWN")
FIXED_IPS = List(
    Object(
        pb.FixedIp,
        [
            Field("subnet_id", "subnet_id", write=BOTH),
            Field("ip_address", "ip_address", write=BOTH, codec=IpAddress),
        ],
    )
)
PAIRS = List(
    Object(
        pb.AddressPair,
        [
            Field("ip_address", "ip_address", write=BOTH, required=True),
            Field("mac_address", "mac_address", write=BOTH),
        ],
    ),
    nullable=True,
)


class Option(Object):
    """With null for its value it is taken away."""

    def from_json(self, value: JsonValue, field: str) -> Message:
        if not isinstance(value, dict) or value.get("opt_value", "") is not None:
            return super().from_json(value, field)
        option: Any = super().from_json(value | {"opt_value": ""}, field)
        option.absent = True
        return cast(Message, option)


OPTIONS = List(
    Option(
        pb.DhcpOption,
        [
            Field("opt_name", "name", write=BOTH, required=True),
            Field("opt_value", "value", write=BOTH),
            Field("ip_version", "ip_version", write=BOTH, codec=Integer(4, 6, lenient=True)),
        ],
    ),
    nullable=True,
)

ASSIGNMENTS = List(
    Object(
        pb.DnsAssignment,
        [Field("hostname", "hostname"), Field("ip_address", "ip_address"), Field("fqdn", "fqdn")],
    )
)


def vif_type(port: pb.Port, request: Request) -> JsonValue:
    """What the port is plugged into."""
    return "bridge" if port.spec.node else "unbound"


def vif_details(port: pb.Port, request: Request) -> JsonValue:
    """How it is plugged in."""
    return {"port_filter": True, "connectivity": "l2"} if port.spec.node else {}


def ip_allocation(port: pb.Port, request: Request) -> JsonValue:
    """When an address is chosen: when the port is made, when it gets a node, or never."""
    if port.spec.addresses_deferred:
        return "deferred"
    return "immediate" if port.spec.fixed_ips else "none"


PORTS = Table(
    singular="port",
    plural="ports",
    message=pb.Port,
    service=PortServiceStub,
    fields=[
        *first_fields(),
        shown("network_id", "spec.network_id", write="create", required=True),
        shown("mac_address", "spec.mac_address", write=BOTH, codec=Mac(nullable=True)),
        shown("admin_state_up", "spec.admin_state_up", write=BOTH, codec=BOOL),
        shown("status", "status.state", codec=STATUS),
        shown("device_id", "spec.device_id", write=BOTH),
        shown("device_owner", "spec.device_owner", write=BOTH),
        Field("fixed_ips", "spec.fixed_ips", write=BOTH, codec=FIXED_IPS),
        Field(
            "security_groups",
            "spec.security_group_ids",
            write=BOTH,
            codec=List(Text(36, min=1), unique=True, nullable=True),
            filter=True,
        ),
        Field("allowed_address_pairs", "spec.allowed_address_pairs", write=BOTH, codec=PAIRS),
        Field("ip_allocation", compute=ip_allocation),
        Field("extra_dhcp_opts", "spec.extra_dhcp_opts", write=BOTH, codec=OPTIONS),
        shown("port_security_enabled", "spec.port_security_enabled", write=BOTH, codec=BOOL),
        shown("binding:vnic_type", "spec.vnic_type", write=BOTH),
        shown("binding:host_id", "spec.node", write=BOTH, visible_to=ADMIN),
        Field("binding:profile", "spec.binding_profile", write=BOTH, visible_to=ADMIN, codec=Json),
        Field("binding:vif_type", compute=vif_type, visible_to=ADMIN),
        Field("binding:vif_details", compute=vif_details, visible_to=ADMIN),
        shown("dns_name", "spec.dns_name", write=BOTH),
        Field("dns_assignment", "dns_assignments", codec=ASSIGNMENTS),
        shown("qos_policy_id", "spec.qos_policy_id", write=BOTH, codec=Text(36, nullable=True)),
        Field("trunk_details", compute=trunks.details),
        Field("qos_network_policy_id", "qos_network_policy_id", codec=Text(nullable=True)),
        *standard_fields(),
    ],
)

_resource = Resource(PORTS)
routes = [*_resource.routes(), *Tags(_resource).routes()]
