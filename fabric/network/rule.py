"""What a security group rule may say. No I/O."""

from fabric.network import address
from fabric.network.v1 import security_group_pb2 as pb
from fabric.runtime.errors import InvalidArgument

# protocol names and their numbers, as Neutron knows them
PROTOCOLS = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "hopopt": 0,
    "icmp": 1,
    "igmp": 2,
    "ip": 0,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "icmpv6": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}
_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_ICMP = frozenset({1, 58})
_ONLY_IPV6 = frozenset({41, 43, 44, 58, 59, 60})


def check(spec: pb.SecurityGroupRuleSpec) -> None:
    """Raise InvalidArgument for what makes no sense; bring the rest into its usual form in place."""
    if spec.direction not in ("ingress", "egress"):
        raise address.invalid(f"'{spec.direction}' is not in ['ingress', 'egress']", "direction")
    spec.ethertype = {"": "IPv4", "ipv4": "IPv4", "ipv6": "IPv6"}.get(spec.ethertype.lower(), spec.ethertype)
    if spec.ethertype not in ("IPv4", "IPv6"):
        raise _refused("INVALID_ETHER_TYPE", f"Ethertype {spec.ethertype} is not supported", "ethertype")
    number = _check_protocol(spec)
    _check_ports(spec, number)
    _check_remote(spec)


def protocol_number(protocol: str) -> int | None:
    """None: any protocol. Raises InvalidArgument."""
    if not protocol or protocol == "any":
        return None
    if protocol in PROTOCOLS:
        return PROTOCOLS[protocol]
    if protocol.isascii() and protocol.isdigit() and len(protocol) < 4 and int(protocol) <= 255:
        return int(protocol)
    raise _refused(
        "SECURITY_GROUP_RULE_INVALID_PROTOCOL",
        f"Security group rule protocol {protocol} not supported. Only protocol values "
        f"{[None, *sorted(PROTOCOLS)]} and integer representations [0 to 255] are supported.",
        "protocol",
    )


def _check_protocol(spec: pb.SecurityGroupRuleSpec) -> int | None:
    protocol = spec.protocol.lower()
    number = protocol_number(protocol)
    if number is None:
        protocol = ""
    if spec.ethertype == "IPv6" and number == 1:
        protocol, number = "ipv6-icmp", 58  # "icmp" means the family's own
    if protocol == "icmpv6":
        protocol = "ipv6-icmp"
    if number in _ONLY_IPV6 and spec.ethertype == "IPv4":
        raise _refused(
            "SECURITY_GROUP_ETHERTYPE_CONFLICT_WITH_PROTOCOL",
            f"Invalid ethertype {spec.ethertype} for protocol {spec.protocol}.",
            "ethertype",
        )
    spec.protocol = protocol
    return number


def _check_ports(spec: pb.SecurityGroupRuleSpec, number: int | None) -> None:
    low = spec.port_range_min if spec.HasField("port_range_min") else None
    high = spec.port_range_max if spec.HasField("port_range_max") else None
    if low is None and high is None:
        return
    if number is None:
        raise _refused(
            "SECURITY_GROUP_PROTOCOL_REQUIRED_WITH_PORTS",
            "Must also specify protocol if port range is given.",
            "protocol",
        )
    if number in _ICMP:
        _check_icmp(low, high)
        return
    if number not in _WITH_PORTS:
        raise _refused(
            "SECURITY_GROUP_INVALID_PROTOCOL_FOR_PORT",
            f"Invalid protocol {spec.protocol} for port range, only supported for TCP, UDP, UDPLITE, SCTP and DCCP.",
            "protocol",
        )
    for value, name in ((low, "port_range_min"), (high, "port_range_max")):
        if value is not None and not 1 <= value <= 65535:
            raise _refused("SECURITY_GROUP_INVALID_PORT_VALUE", f"Invalid value for port {value}", name)
    if low is None or high is None or low > high:
        raise _refused(
            "SECURITY_GROUP_INVALID_PORT_RANGE",
            "For TCP/UDP protocols, port_range_min must be <= port_range_max",
            "port_range_min",
        )


def _check_icmp(type_: int | None, code: int | None) -> None:
    for value, field, name in ((type_, "port_range_min", "type"), (code, "port_range_max", "code")):
        if value is not None and not 0 <= value <= 255:
            raise _refused(
                "SECURITY_GROUP_INVALID_ICMP_VALUE",
                f"Invalid value for ICMP {name} ({field}) {value}. It must be 0 to 255.",
                field,
            )
    if type_ is None and code is not None:
        raise _refused(
            "SECURITY_GROUP_MISSING_ICMP_TYPE",
            f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.",
            "port_range_min",
        )


def _check_remote(spec: pb.SecurityGroupRuleSpec) -> None:
    named = [
        name
        for name in ("remote_group_id", "remote_ip_prefix", "remote_address_group_id")
        if getattr(spec, name)
    ]
    if len(named) > 1:
        raise _refused(
            "SECURITY_GROUP_MULTIPLE_REMOTE_ENTITES",
            "Only one of remote_ip_prefix, remote_group_id or remote_address_group_id may be provided.",
            named[0],
        )
    if spec.remote_ip_prefix:
        net = address.network(spec.remote_ip_prefix, "remote_ip_prefix")
        if f"IPv{net.version}" != spec.ethertype:
            raise _refused(
                "SECURITY_GROUP_RULE_PARAMETER_CONFLICT",
                f"Conflicting value ethertype {spec.ethertype} for CIDR {spec.remote_ip_prefix}",
                "ethertype",
            )


def _refused(reason: str, message: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, reason=reason, field=field)
