"""Which tracked flows the filters would not let begin any more. No I/O."""

from collections.abc import Iterable, Iterator

from agents.network import group_rule, name
from agents.network.conntrack import Tracked
from agents.network.directory import PortDirectory
from agents.network.filter_model import FilterModel
from agents.network.group_rule import EGRESS, INGRESS, Flow
from fabric.network.v1 import port_pb2

Gone = set[tuple[str, str]]  # network id, address: of ports that are not here any more

_SERVED_PORTS = {53, 67, 80, 547}
_CLIENT_PORTS = {68, 546}


def zones(model: FilterModel) -> dict[int, str]:
    """The networks by the zones in which their flows are tracked."""
    return {model.zones.number(name.bridge(network_id)): network_id for network_id in model.networks}


def stale(
    model: FilterModel, directory: PortDirectory, found: Iterable[Tracked], gone: Gone
) -> Iterator[Tracked]:
    """Those to forget: of ports that went, or that no rule would accept now."""
    networks = zones(model)
    for tracked in found:
        network_id = networks.get(tracked.zone)
        if network_id is None:
            continue
        ends = (str(tracked.flow.source), str(tracked.flow.destination))
        went = any((network_id, end) in gone for end in ends)
        if went or not _permitted(model, directory, network_id, tracked.flow):
            yield tracked


def _permitted(model: FilterModel, directory: PortDirectory, network_id: str, flow: Flow) -> bool:
    dhcp = model.networks[network_id].dhcp_port.spec
    served = {name.METADATA_V4, name.METADATA_V6, *(fixed.ip_address for fixed in dhcp.fixed_ips)}
    sender = directory.find(network_id, str(flow.source))
    to_service = str(flow.destination) in served and flow.destination_port in _SERVED_PORTS
    if sender is not None and not to_service and not _accepts(model, sender, EGRESS, flow):
        return False
    receiver = directory.find(network_id, str(flow.destination))
    from_service = str(flow.source) in served and flow.destination_port in _CLIENT_PORTS
    return receiver is None or from_service or _accepts(model, receiver, INGRESS, flow)


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
