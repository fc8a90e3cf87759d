"""What leads from external addresses to ports goes when the port, or its address, goes."""

from fabric.network.collection import FLOATING_IPS, PORT_FORWARDINGS
from fabric.network.v1 import floating_ip_pb2, port_pb2
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction


def disconnect(floating: floating_ip_pb2.FloatingIp) -> None:
    """Let it lead nowhere."""
    for name in ("port_id", "fixed_ip_address", "router_id"):
        floating.spec.ClearField(name)


def leave(store: Store, txn: Transaction, port: port_pb2.Port, kept: frozenset[str] = frozenset()) -> None:
    """The port keeps only these addresses: nothing leads to its others any more, from the same revision on."""
    for floating in store.table(FLOATING_IPS).by("port", port.meta.id):
        if floating.spec.fixed_ip_address not in kept:
            alone = copy_of(floating)
            disconnect(alone)
            txn.update(FLOATING_IPS, alone)
    forwardings = store.table(PORT_FORWARDINGS)
    gone = [
        forwarding
        for forwarding in forwardings.by("port", port.meta.id)
        if forwarding.spec.internal_ip_address not in kept
    ]
    for forwarding in gone:
        txn.remove(PORT_FORWARDINGS, forwarding)
    for floating_id in {forwarding.spec.floating_ip_id for forwarding in gone}:
        left = {other.meta.id for other in forwardings.by("floating_ip", floating_id)}
        touched = copy_of(store.get(FLOATING_IPS, floating_id))
        if left <= {forwarding.meta.id for forwarding in gone}:
            touched.spec.router_id = ""
        txn.update(FLOATING_IPS, touched)
