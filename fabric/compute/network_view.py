"""What the network service says of servers' ports: read from the cache of all services of a controller."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fabric.compute.server import SERVERS
from fabric.compute.v1 import server_pb2 as pb
from fabric.network.reach import Need, missed
from fabric.network.segment_list import facts
from fabric.network.v1 import floating_ip_pb2, network_pb2, port_pb2, subnet_pb2
from fabric.runtime.cache import Table
from fabric.runtime.resource import copy_of
from fabric.runtime.store import ROOT, Store

_FLOATING = f"{ROOT}/network/floating_ips"
_NETWORKS, _SUBNETS = f"{ROOT}/network/networks", f"{ROOT}/network/subnets"
_PORTS = f"{ROOT}/network/ports"
_AGENT = "network"  # which of a node's says what it reaches


def with_floating(store: Store, server: pb.Server) -> pb.Server:
    """The server with the addresses outside that lead to its own; itself when there are none."""
    found = _floating(store, server)
    if not found:
        return server
    shown = copy_of(server)
    _show(found, shown)
    return shown


def add_floating(store: Store, server: pb.Server) -> None:
    """The same in the message itself, which is the caller's own."""
    _show(_floating(store, server), server)


def _floating(store: Store, server: pb.Server) -> Mapping[tuple[str, str], list[str]]:
    """The floating IPs, by port and fixed IP."""
    table: Table[floating_ip_pb2.FloatingIp] = store.cache.table(_FLOATING)
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    if not len(table):
        return found
    for nic in server.nics:
        for floating in table.by("port", nic.port_id):
            found[nic.port_id, floating.spec.fixed_ip_address].append(floating.spec.floating_ip_address)
    return found


def _show(found: Mapping[tuple[str, str], list[str]], server: pb.Server) -> None:
    for nic in server.nics if found else ():
        for fixed in nic.fixed_ips:
            fixed.floating_ips.extend(sorted(found.get((nic.port_id, fixed.ip_address), ())))


def has_old_addresses(store: Store, server: pb.Server) -> bool:
    """Whether a port of the server has other addresses than the server's record says."""
    ports: Table[port_pb2.Port] = store.cache.table(_PORTS)
    for nic in server.nics:
        port = ports.get(nic.port_id)
        if port is not None and _addresses(port.spec.fixed_ips) != _addresses(nic.fixed_ips):
            return True
    return False


def cut_off(store: Store, server: pb.Server) -> Mapping[str, str]:
    """The nodes that do not reach a network of the server where its addresses are good, and that network."""
    needs = list(_needs(store, server))
    if not needs:
        return {}
    found = ((life.node, missed(life, needs)) for life in store.lives() if life.agent == _AGENT)
    return {node: network_id for node, network_id in found if network_id is not None}


def _needs(store: Store, server: pb.Server) -> Iterator[Need]:
    """Its networks that lead through physical ones, with the segments that the addresses of its ports are on."""
    networks: Table[network_pb2.Network] = store.cache.table(_NETWORKS)
    subnets: Table[subnet_pb2.Subnet] = store.cache.table(_SUBNETS)
    ports: Table[port_pb2.Port] = store.cache.table(_PORTS)
    for request in server.spec.networks:
        port = ports.get(request.port_id)
        network = networks.get(port.spec.network_id if port is not None else request.network_id)
        if network is None or not any(spec.physical_network for spec in facts(network)):
            continue
        fixed_ips = port.spec.fixed_ips if port is not None else ()
        found = (subnets.get(fixed.subnet_id) for fixed in fixed_ips)
        yield network, frozenset({subnet.spec.segment_id for subnet in found if subnet is not None} - {""})


def _addresses(fixed_ips: Iterable[Any]) -> list[tuple[str, str]]:
    return [(fixed.subnet_id, fixed.ip_address) for fixed in fixed_ips]


@contextmanager
def following(store: Store, wake: Callable[[str], None]) -> Iterator[None]:
    """Wake each server whose addresses, or the floating IPs that lead to them, change."""
    ports: Table[port_pb2.Port] = store.cache.table(_PORTS)
    floating_ips: Table[floating_ip_pb2.FloatingIp] = store.cache.table(_FLOATING)
    led: dict[str, str] = {}  # floating IP -> port, also when the floating IP is gone

    def server_of(port_id: str) -> pb.Server | None:
        port = ports.get(port_id)
        return store.find(SERVERS, port.spec.device_id) if port is not None else None

    def port_changed(port_id: str) -> None:  # also by each report of its agent
        server = server_of(port_id)
        if server is not None and has_old_addresses(store, server):
            wake(server.meta.id)

    def floating_changed(id_: str) -> None:
        floating = floating_ips.get(id_)
        before, after = led.pop(id_, ""), floating.spec.port_id if floating is not None else ""
        if after:
            led[id_] = after
        for port_id in {before, after} - {""}:
            if (server := server_of(port_id)) is not None:
                wake(server.meta.id)

    stops = [ports.subscribe(port_changed), floating_ips.subscribe(floating_changed)]
    try:
        yield
    finally:
        for stop in stops:
            stop()
