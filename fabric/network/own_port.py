"""Ports of the cloud's own, of routers and floating IPs: made and removed in the transaction of what they serve."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fabric.network.allocation import Allocator, Reservation
from fabric.network.collection import FLOATING_IPS, FLOATING_OWNER, NETWORKS, PORTS, ROUTER_OWNERS, ROUTERS
from fabric.network.fixed_ip import Chooser
from fabric.network.record import TRIES
from fabric.network.v1 import network_pb2, port_pb2
from fabric.runtime.errors import AlreadyExists, StaleRevision
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Collection, Record, Store, Transaction

R = TypeVar("R")
M = TypeVar("M", bound=Record)
_CHOSEN = frozenset({"mac", "ip"})  # claims of what was free when it was chosen


def server_of(store: Store, port: port_pb2.Port) -> str:
    """The id of the router or floating IP that the port belongs to; empty: it is an ordinary one."""
    owner, device = port.spec.device_owner, port.spec.device_id
    if owner in ROUTER_OWNERS and store.find(ROUTERS, device) is not None:
        return device
    if owner == FLOATING_OWNER and store.find(FLOATING_IPS, device) is not None:
        return device
    return ""


class Plug:
    """What one transaction makes and changes of them."""

    def __init__(self, store: Store, txn: Transaction, allocator: Allocator, held: Reservation) -> None:
        self.store, self.txn = store, txn
        self._allocator, self._held = allocator, held

    def make(
        self,
        on: network_pb2.Network,
        asked: Sequence[port_pb2.FixedIp] | None,
        *,
        owner: str,
        device: str,
        project: str = "",
        node: str = "",
    ) -> port_pb2.Port:
        """A new port with the addresses that are asked for; None: any. Raises as Chooser.choose."""
        port = port_pb2.Port()
        port.meta.id, port.meta.project_id = str(uuid.uuid4()), project
        spec = port.spec
        spec.network_id, spec.admin_state_up, spec.vnic_type = on.meta.id, True, "normal"
        spec.device_owner, spec.device_id, spec.node = owner, device, node
        spec.mac_address = self._allocator.mac(on.meta.id)
        self._held.hold(f"mac {on.meta.id}", spec.mac_address)
        spec.fixed_ips.extend(self._chooser(on).choose(asked, spec.mac_address, owner))
        self.txn.expect(NETWORKS, on)
        self.txn.create(PORTS, port)
        return port

    def readdress(
        self, port: port_pb2.Port, on: network_pb2.Network, asked: Sequence[port_pb2.FixedIp]
    ) -> port_pb2.Port:
        """The port with these addresses instead. Raises as Chooser.change."""
        new = copy_of(port)
        del new.spec.fixed_ips[:]
        new.spec.fixed_ips.extend(self._chooser(on).change(asked, port, port.spec.mac_address))
        self.txn.expect(NETWORKS, on)
        self.txn.update(PORTS, new)
        return new

    def take(self, port: port_pb2.Port, *, owner: str, device: str, node: str) -> port_pb2.Port:
        """Make a port that nobody uses one of these."""
        new = copy_of(port)
        new.spec.device_owner, new.spec.device_id, new.spec.node = owner, device, node
        new.spec.port_security_enabled = False
        del new.spec.security_group_ids[:]
        del new.spec.allowed_address_pairs[:]
        self.txn.update(PORTS, new)
        return new

    def drop(self, port: port_pb2.Port) -> None:
        """Remove it at once: its node takes it down with the want, and its address may be asked for again."""
        self.txn.remove(PORTS, port)

    def hold(self, collection: Collection[M], record: M) -> None:
        """Write the record again as it is: those who build on it and those who take it away are in one order."""
        self.txn.update(collection, copy_of(record))

    def _chooser(self, on: network_pb2.Network) -> Chooser:
        return Chooser(self.store, self.txn, self._allocator, self._held, on)


class Plugs:
    """Runs such transactions."""

    def __init__(self, store: Store, allocator: Allocator) -> None:
        self.store = store
        self._allocator = allocator

    async def settle(self, key: str, work: Callable[[Plug], R]) -> R:
        """Do the work in one transaction, again when somebody else was faster.

        key: what this process's own writers queue for.
        """
        async with self.store.lock(key):
            for attempt in range(TRIES):
                with self._allocator.reservation() as held:
                    try:
                        async with self.store.transaction() as txn:
                            return work(Plug(self.store, txn, self._allocator, held))
                    except (AlreadyExists, StaleRevision) as error:
                        if attempt + 1 == TRIES or not _may_go_again(error):
                            raise
                await self.store.fresh(None)
        raise AssertionError


def _may_go_again(error: Any) -> bool:
    return isinstance(error, StaleRevision) or error.facts.get("index") in _CHOSEN
