"""The floating IPs of servers: read from the cache of all services of a controller, since every list shows them."""

from collections import defaultdict

from fabric.compute.v1 import server_pb2 as pb
from fabric.network.v1 import floating_ip_pb2
from fabric.runtime.cache import Table
from fabric.runtime.resource import copy_of
from fabric.runtime.store import ROOT, Store

_PATH = f"{ROOT}/network/floating_ips"


def with_floating(store: Store, server: pb.Server) -> pb.Server:
    """The server with the addresses outside that lead to its own; itself when there are none."""
    table: Table[floating_ip_pb2.FloatingIp] = store.cache.table(_PATH)
    if not len(table):
        return server
    found: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for nic in server.nics:
        for floating in table.by("port", nic.port_id):
            found[nic.port_id, floating.spec.fixed_ip_address].append(floating.spec.floating_ip_address)
    if not found:
        return server
    shown = copy_of(server)
    for nic in shown.nics:
        for fixed in nic.fixed_ips:
            fixed.floating_ips.extend(sorted(found.get((nic.port_id, fixed.ip_address), ())))
    return shown
