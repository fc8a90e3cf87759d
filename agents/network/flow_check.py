"""Which tracked flows the filters would not let begin any more. No I/O."""

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from agents.network import group_rule, name
from agents.network.conntrack import Tracked
from agents.network.directory import PortDirectory
from agents.network.filter_model import FilterModel, Network
from agents.network.group_rule import EGRESS, INGRESS, Address, Flow
from fabric.network.v1 import port_pb2

Gone = set[tuple[str, str]]  # network id, address: of ports that are not here any more
_Pairs = Mapping[str, list[tuple[Network, str]]]  # by network: what ports may have beside their own addresses

_SERVED_PORTS = {53, 67, 80, 547}
_CLIENT_PORTS = {68, 546}


def zones(model: FilterModel) -> dict[int, str]:
    """The networks by the zones in which their flows are tracked."""
    return {model.zones.number(name.bridge(network_id)): network_id for network_id in model.networks}


def stale(
    model: FilterModel, directory: PortDirectory, found: Iterable[Tracked], gone: Gone
) -> Iterator[Tracked]:
    """Those to forget: of ports that went, or that no rule would accept now."""
    networks, pairs = zones(model), _pairs(model)
    for tracked in found:
        network_id = networks.get(tracked.zone)
        if network_id is None:
            continue
        ends = (str(tracked.flow.source), str(tracked.flow.destination))
        went = any((network_id, end) in gone for end in ends)
        if went or not _permitted(model, directory, pairs, network_id, tracked.flow):
            yield tracked


def _pairs(model: FilterModel) -> _Pairs:
    found = defaultdict(list)
    for port in model.ports.values():
        for pair in port.spec.allowed_address_pairs:
            network = ipaddress.ip_network(pair.ip_address, strict=False)
            found[port.spec.network_id].append((network, port.meta.id))
    return found


def _ports_at(directory: PortDirectory, pairs: _Pairs, network_id: str, address: Address) -> list[str]:
    """The port whose own the address is, else all that may have it: it is not known which of them has."""
    own = directory.find(network_id, str(address))
    if own is not None:
        return [own]
    return [port_id for network, port_id in pairs.get(network_id, ()) if address in network]


def _permitted(
    model: FilterModel, directory: PortDirectory, pairs: _Pairs, network_id: str, flow: Flow
) -> bool:
    dhcp = model.networks[network_id].dhcp_port.spec
    served = {name.METADATA_V4, name.METADATA_V6, *(fixed.ip_address for fixed in dhcp.fixed_ips)}
    senders = _ports_at(directory, pairs, network_id, flow.source)
    to_service = str(flow.destination) in served and flow.destination_port in _SERVED_PORTS
    if senders and not to_service and not any(_accepts(model, id_, EGRESS, flow) for id_ in senders):
        return False
    receivers = _ports_at(directory, pairs, network_id, flow.destination)
    from_service = str(flow.source) in served and flow.destination_port in _CLIENT_PORTS
    return not receivers or from_service or any(_accepts(model, id_, INGRESS, flow) for id_ in receivers)


def _accepts(model: FilterModel, port_id: str, direction: str, flow: Flow) -> bool:
    port: port_pb2.Port | None = model.ports.get(port_id)
    if port is None or not port.spec.port_security_enabled:
        return True
    rules = (
        rule
        for group_id in port.spec.security_group_ids
        if group_id in model.groups
        for rule in model.groups[group_id].rules
    )
    return group_rule.permits(rules, direction, flow, model.is_member)
