"""What dnsmasq is told about a network: pure text, as dnsmasq(8) describes it.

The configuration changes with subnets and needs a new process; hosts, options and names change with ports
and are read again at SIGHUP. Only ports that are listed get an answer: every range is static and unknown
MACs are ignored.
"""

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from agents.network import name
from agents.network.mtu import mtu_of
from fabric.network.dns_name import is_domain
from fabric.network.v1 import network_pb2, port_pb2, subnet_pb2

_OPTION_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_TEXT = re.compile(r"[\x20-\x7e]{1,500}")


@dataclass(frozen=True)
class Files:
    """Contents of the four files."""

    configuration: str
    hosts: str
    options: str
    names: str


def serves(want: network_pb2.NetworkWant) -> bool:
    """Whether the network needs a DHCP server on this node."""
    return want.HasField("dhcp_port") and any(_subnets(want))


class PortTexts:
    """The lines of each port in hosts, options and names, kept while the port stays the same object."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[port_pb2.Port, object, tuple[str, str, str]]] = {}

    def of(self, port: port_pb2.Port, served: frozenset[str], domain: str) -> tuple[str, str, str]:
        """served: ids of the subnets that DHCP serves."""
        known = self._known.get(port.meta.id)
        if known is not None and known[0] is port and known[1] == (served, domain):
            return known[2]
        texts = _lines(_hosts(served, port)), _lines(_port_options(port)), _lines(_names(port, domain))
        self._known[port.meta.id] = port, (served, domain), texts
        return texts

    def keep(self, port_ids: Collection[str]) -> None:
        """Forget all others."""
        if len(self._known) > len(port_ids):
            self._known = {id_: known for id_, known in self._known.items() if id_ in port_ids}


def render(
    want: network_pb2.NetworkWant,
    ports: Sequence[port_pb2.Port],
    texts: PortTexts,
    *,
    lease_seconds: int,
    domain: str,
    upstream: Sequence[str],
) -> Files:
    """upstream: DNS servers (address#port) for networks whose subnets name none."""
    own = want.network.spec.dns_domain
    domain = own.rstrip(".") if is_domain(own) else domain
    by_id = {port.meta.id: port for port in ports}
    served = frozenset(subnet.meta.id for subnet, _ in _subnets(want))
    parts = [texts.of(by_id[id_], served, domain) for id_ in sorted(by_id)]
    texts.keep(by_id.keys())
    return Files(
        configuration=_lines(_configuration(want, lease_seconds, domain, upstream)),
        hosts="".join(part[0] for part in parts),
        options=_lines(_subnet_options(want)) + "".join(part[1] for part in parts),
        names="".join(part[2] for part in parts),
    )


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _subnets(want: network_pb2.NetworkWant) -> Iterator[tuple[subnet_pb2.Subnet, str]]:
    """The subnets that are served, each with the DHCP port's address in it."""
    own = {fixed.subnet_id: fixed.ip_address for fixed in want.dhcp_port.spec.fixed_ips}
    for subnet in sorted(want.subnets, key=lambda subnet: subnet.meta.id):
        if subnet.spec.enable_dhcp and subnet.meta.id in own:
            yield subnet, own[subnet.meta.id]


def _tag(subnet: subnet_pb2.Subnet) -> str:
    return f"subnet-{subnet.meta.id}"


def _configuration(
    want: network_pb2.NetworkWant, lease_seconds: int, domain: str, upstream: Sequence[str]
) -> Iterator[str]:
    yield from (
        "no-resolv",
        "no-hosts",
        "bind-interfaces",
        f"interface={name.INNER}",
        "except-interface=lo",
        "dhcp-authoritative",
        "dhcp-ignore=tag:!known",
        f"dhcp-lease-max={2**20}",
        f"domain={domain}",
        f"local=/{domain}/",
        "expand-hosts",
        "local-service",
        "cache-size=1000",
        "quiet-dhcp",
        "quiet-dhcp6",
        "quiet-ra",
    )
    servers = [
        server
        for subnet, _ in _subnets(want)
        for server in subnet.spec.dns_nameservers
        if _is_address(server)
    ]
    yield from (f"server={server}" for server in dict.fromkeys(servers or upstream))
    advertise = False
    for subnet, _ in _subnets(want):
        network = ipaddress.ip_network(subnet.spec.cidr)
        tag = f"set:{_tag(subnet)}"
        if network.version == 4:
            yield f"dhcp-range={tag},{network.network_address},static,{network.netmask},{lease_seconds}s"
            continue
        modes = (subnet.spec.ipv6_ra_mode, subnet.spec.ipv6_address_mode)
        advertise = advertise or bool(subnet.spec.ipv6_ra_mode)
        mode = {"slaac": "ra-only", "dhcpv6-stateless": "ra-stateless"}.get(modes[0] or modes[1], "static")
        yield f"dhcp-range={tag},{network.network_address},{mode},{network.prefixlen},{lease_seconds}s"
    if advertise:
        mtu = mtu_of(want.network)
        yield "enable-ra"
        yield f"ra-param={name.INNER},mtu:{mtu},0,0"  # prefixes and MTU; a router announces itself


def _hosts(served: frozenset[str], port: port_pb2.Port) -> Iterator[str]:
    """One line a port: dnsmasq takes of its addresses the ones that fit the range asked on."""
    chosen: dict[str, str] = {}  # one address a subnet
    for fixed in port.spec.fixed_ips:
        if fixed.subnet_id in served:
            chosen.setdefault(fixed.subnet_id, fixed.ip_address)
    four = [address for address in chosen.values() if "." in address]
    six = [f"[{address}]" for address in chosen.values() if ":" in address]
    if not chosen:
        return
    head = port.spec.mac_address
    if port.spec.extra_dhcp_opts:
        head += f",set:port-{port.meta.id}"
    host = _host_name(port, next(iter(chosen.values())))
    yield ",".join([head, *six, *four[:1], host])
    for address in four[1:]:  # a second IPv4 subnet of the network
        yield f"{head},{address},{_host_name(port, address)}"


def _host_name(port: port_pb2.Port, address: str) -> str:
    if _LABEL.fullmatch(port.spec.dns_name):
        return port.spec.dns_name
    return "host-" + address.replace(".", "-").replace(":", "-").strip("-")


def may_reload(hosts: str) -> bool:
    """Whether a server that has read these hosts may be told to read them again.

    dnsmasq 2.90 dies of SIGHUP (it frees memory that it does not own) once it has answered a host that has a tag.
    """
    return ",set:" not in hosts


def _names(port: port_pb2.Port, domain: str) -> Iterator[str]:
    for fixed in port.spec.fixed_ips:
        host = _host_name(port, fixed.ip_address)
        yield f"{fixed.ip_address} {host}.{domain} {host}"


def _subnet_options(want: network_pb2.NetworkWant) -> Iterator[str]:
    for subnet, own in _subnets(want):
        tag = f"tag:{_tag(subnet)}"
        servers = [server for server in subnet.spec.dns_nameservers if _is_address(server)]
        if subnet.spec.ip_version == 6:
            six = [server for server in servers if ":" in server] or [own]
            yield ",".join([tag, "option6:dns-server", *(f"[{server}]" for server in six)])
            continue
        yield ",".join([tag, "option:dns-server", *([s for s in servers if ":" not in s] or [own])])
        gateway = subnet.spec.gateway_ip
        yield ",".join([tag, "option:router", *([gateway] if gateway else [])])  # empty: do not announce one
        routes = [(f"{name.METADATA_V4}/32", own)]
        routes += [(route.destination, route.nexthop) for route in subnet.spec.host_routes]
        if gateway and all(destination != "0.0.0.0/0" for destination, _ in routes):
            routes.append(("0.0.0.0/0", gateway))  # who takes option 121 ignores option 3 (RFC 3442)
        flat = [part for route in routes for part in route]
        yield ",".join([tag, "option:classless-static-route", *flat])
        yield ",".join([tag, "249", *flat])
    if want.network.spec.mtu:
        yield f"option:mtu,{want.network.spec.mtu}"


def _port_options(port: port_pb2.Port) -> Iterator[str]:
    for option in port.spec.extra_dhcp_opts:
        if not _OPTION_NAME.fullmatch(option.name) or not _TEXT.fullmatch(option.value):
            continue  # the API refuses these; one line must not become two
        family = "option6" if option.ip_version == 6 else "option"
        key = option.name if option.name.isdigit() and family == "option" else f"{family}:{option.name}"
        yield f"tag:port-{port.meta.id},{key},{option.value}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
