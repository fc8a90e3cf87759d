"""Trunks: which ports they join, and by which VLAN tags."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fabric.network import address
from fabric.network.binding import bind
from fabric.network.collection import NETWORKS, PORTS, SUBPORT_OWNER, TRUNKS, marked
from fabric.network.record import NetworkResource
from fabric.network.v1 import port_pb2
from fabric.network.v1 import trunk_pb2 as pb
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

VLAN, INHERIT = "vlan", "inherit"


class Trunks(NetworkResource[pb.Trunk]):
    """The rules of trunks. What a trunk joins is written with it, so that none of it is removed at the same time."""

    collection = TRUNKS
    policies = {
        "create": "create_trunk",
        "get": "get_trunk",
        "list": "get_availability_zone",
        "update": "update_trunk",
        "delete": "delete_trunk",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name", "spec.port_id": "parent"}

    def __init__(self, store: Store, policy: Policy, ports: NetworkResource[port_pb2.Port]) -> None:
        super().__init__(store, policy)
        self._ports = ports

    def admit(
        self,
        caller: Caller,
        new: pb.Trunk,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.Trunk],
    ) -> None:
        new.ClearField("status")
        if "spec.admin_state_up" not in given:
            new.spec.admin_state_up = True
        new.node = ""
        asked = self._completed(new.spec.sub_ports)
        del new.spec.sub_ports[:]
        parent = self._port(caller, new.spec.port_id)
        self._check_free(parent.meta.id, None)
        touched = copy_of(parent)
        touched.meta.generation += 1
        txn.update(PORTS, touched)
        self._join(caller, new, parent, asked, txn)

    def change(self, caller: Caller, new: pb.Trunk, old: pb.Trunk, txn: Transaction) -> None:
        if new.spec.port_id != old.spec.port_id or list(new.spec.sub_ports) != list(old.spec.sub_ports):
            raise InvalidArgument(
                "Cannot update read-only attribute port_id", reason="HTTP_BAD_REQUEST", field="port_id"
            )

    def check_delete(self, caller: Caller, old: pb.Trunk, txn: Transaction) -> None:
        _check_enabled(old)
        for sub in old.spec.sub_ports:
            self._part(sub.port_id, txn)

    async def AddSubPorts(self, request: pb.AddSubPortsRequest, caller: Caller) -> pb.Trunk:
        def add(trunk: pb.Trunk, txn: Transaction) -> None:
            parent = self.store.get(PORTS, trunk.spec.port_id)
            self._join(caller, trunk, parent, self._completed(request.sub_ports), txn)

        return await self._rejoin(request.id, caller, "add_subports", add)

    async def RemoveSubPorts(self, request: pb.RemoveSubPortsRequest, caller: Caller) -> pb.Trunk:
        def remove(trunk: pb.Trunk, txn: Transaction) -> None:
            for port_id in dict.fromkeys(sub.port_id for sub in request.sub_ports):
                found = next((sub for sub in trunk.spec.sub_ports if sub.port_id == port_id), None)
                if found is None:
                    raise NotFound(
                        f"SubPort on trunk {trunk.meta.id} with parent port {port_id} could not be found.",
                        reason="SUB_PORT_NOT_FOUND",
                    )
                trunk.spec.sub_ports.remove(found)
                self._part(port_id, txn)

        return await self._rejoin(request.id, caller, "remove_subports", remove)

    @again
    async def _rejoin(
        self, id_: str, caller: Caller, rule: str, change: Callable[[pb.Trunk, Transaction], None]
    ) -> pb.Trunk:
        trunk = copy_of(self.find(id_, caller))
        self.policy.enforce(caller, rule, self.target_for(caller, trunk))
        _check_enabled(trunk)
        async with self.store.transaction() as txn:
            change(trunk, txn)
            txn.update(TRUNKS, trunk)
        return self.kept(trunk)

    def _join(
        self,
        caller: Caller,
        trunk: pb.Trunk,
        parent: port_pb2.Port,
        new: Iterable[pb.SubPort],
        txn: Transaction,
    ) -> None:
        """Add the ports to the trunk."""
        for sub in new:
            port = self._port(caller, sub.port_id)
            if any(sub.segmentation_id == other.segmentation_id for other in trunk.spec.sub_ports):
                raise AlreadyExists(
                    f"segmentation_type vlan and segmentation_id {sub.segmentation_id} already in use on trunk "
                    f"{trunk.meta.id}.",
                    reason="DUPLICATE_SUB_PORT",
                )
            if port.meta.id == parent.meta.id:
                raise _in_use(port.meta.id, trunk.meta.id)
            self._check_free(port.meta.id, port)
            self._check_mtu(port, parent)
            joined = copy_of(port)
            joined.spec.device_owner, joined.spec.device_id = SUBPORT_OWNER, trunk.meta.id
            txn.update(PORTS, joined)
            trunk.spec.sub_ports.append(sub)

    def _completed(self, asked: Iterable[pb.SubPort]) -> list[pb.SubPort]:
        new = [self._tagged(sub) for sub in asked]
        tags = [sub.segmentation_id for sub in new]
        if len(set(tags)) != len(tags) or len({sub.port_id for sub in new}) != len(new):
            raise address.invalid("a port or a segmentation id is given twice", "sub_ports")
        return new

    def _tagged(self, asked: pb.SubPort) -> pb.SubPort:
        sub = copy_of(asked)
        sub.mac_address = ""
        if sub.segmentation_type == INHERIT:
            port = self.store.find(PORTS, sub.port_id)
            network = self.store.find(NETWORKS, port.spec.network_id) if port is not None else None
            if network is not None and network.spec.network_type != VLAN:
                raise address.invalid("the subport's network has no VLAN to inherit", "segmentation_type")
            sub.segmentation_type = VLAN
            sub.segmentation_id = network.spec.segmentation_id if network is not None else 1
        if sub.segmentation_type != VLAN:
            raise address.invalid(
                f"'{sub.segmentation_type}' is not a segmentation type", "segmentation_type"
            )
        if not 1 <= sub.segmentation_id <= 4094:
            raise address.invalid(f"'{sub.segmentation_id}' is not from 1 to 4094", "segmentation_id")
        return sub

    def _part(self, port_id: str, txn: Transaction) -> None:
        """The port is nobody's again."""
        port = self.store.find(PORTS, port_id)
        if port is None:
            return
        parted = copy_of(port)
        parted.spec.device_owner, parted.spec.device_id = "", ""
        parted.spec.node, parted.spec.target_node = "", ""
        bind(parted, port)
        txn.update(PORTS, parted)

    def _port(self, caller: Caller, id_: str) -> port_pb2.Port:
        port = self.store.find(PORTS, id_)
        if port is None or not self._ports.visible(caller, port):
            raise NotFound(f"Port {id_} could not be found.", reason="PORT_NOT_FOUND", field="port_id")
        return port

    def _check_free(self, port_id: str, sub: port_pb2.Port | None) -> None:
        """sub: it is to carry a tag, so nothing else may have it."""
        if owner := self.store.owner(TRUNKS, "port", port_id):
            raise _in_use(port_id, owner)
        if sub is not None and (sub.spec.device_id or sub.spec.node):
            raise _in_use(port_id, sub.spec.device_id or sub.spec.node)

    def _check_mtu(self, port: port_pb2.Port, parent: port_pb2.Port) -> None:
        own = self.store.get(NETWORKS, port.spec.network_id).spec.mtu
        largest = self.store.get(NETWORKS, parent.spec.network_id).spec.mtu
        if own > largest:
            raise FailedPrecondition(
                f"MTU {own} of subport {port.meta.id} cannot be greater than MTU {largest} of trunk port "
                f"{parent.meta.id}.",
                reason="SUB_PORT_MTU_GREATER_THAN_TRUNK_PORT_MTU",
            )


def _check_enabled(trunk: pb.Trunk) -> None:
    if not trunk.spec.admin_state_up:
        raise FailedPrecondition(
            f"Trunk {trunk.meta.id} is currently disabled.", reason="TRUNK_DISABLED", trunk=trunk.meta.id
        )


def _in_use(port_id: str, user: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"Port {port_id} is in use by {user} and is not eligible for use in a trunk.",
        reason="PORT_IN_USE",
        port=port_id,
    )


def check_not_joined(store: Store, port: port_pb2.Port) -> None:
    """Raise FailedPrecondition when a trunk has the port: it would be left with nothing."""
    trunk_id = store.owner(TRUNKS, "port", port.meta.id)
    if not trunk_id:
        return
    role, reason = (
        ("subport", "PORT_IN_USE_AS_SUB_PORT")
        if port.spec.device_owner == SUBPORT_OWNER
        else ("parent port", "PORT_IN_USE_AS_TRUNK_PARENT")
    )
    raise FailedPrecondition(
        f"Port {port.meta.id} is currently a {role} for trunk {trunk_id}.", reason=reason, trunk=trunk_id
    )


def details(store: Store, port: Any) -> pb.Trunk | None:
    """The trunk whose parent the port is, with the MAC addresses of the others; None: there is none."""
    found = next(iter(store.table(TRUNKS).by("parent", port.meta.id)), None)
    if found is None:
        return None
    shown = copy_of(found)
    for sub in shown.spec.sub_ports:
        joined = store.find(PORTS, sub.port_id)
        sub.mac_address = joined.spec.mac_address if joined is not None and not marked(joined) else ""
    return shown
