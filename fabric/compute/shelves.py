"""Shelved servers: the leader's steps of their way to the shelf and back, and what unshelving asks for."""

from datetime import UTC, datetime, timedelta

import structlog

from fabric.compute import instance_action, server, shelf
from fabric.compute.aggregate import zones
from fabric.compute.move import place_ports
from fabric.compute.server import SERVERS
from fabric.compute.shelf import Step
from fabric.compute.snapshots import Snapshots
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import FailedPrecondition, InvalidArgument
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store

log = structlog.get_logger(__name__)

NAMES = {"shelve_offload": "shelveOffload", "unshelve": "unshelve"}  # as Nova records them


class Shelves:
    """How its image is made is Snapshots' part, and choosing its node the lifecycle's."""

    def __init__(self, store: Store, snapshots: Snapshots, keep_s: float) -> None:
        """keep_s: how long a node keeps the disks of a shelved server; negative: until it is told to let go."""
        self._store = store
        self._snapshots = snapshots
        self._keep_s = keep_s

    async def step(self, target: pb.Server) -> timedelta | None:
        """Take the next one. Returns when to look again; None: when something has changed."""
        step, due = shelf.next_step(target, datetime.now(UTC), self._keep_s)
        changed = copy_of(target)
        match step:
            case Step.WAIT:
                return due
            case Step.OFFLOAD:
                changed.shelf.phase = shelf.LEAVING
                await self._put(changed)
            case Step.GIVE_UP:
                changed.shelf.phase = shelf.LEAVING
                await self._put(changed, target.status.message or target.status.reason)
            case Step.LEAVE:
                await self._leave(target, changed)
            case Step.END:
                await self._snapshots.delete_image(target.shelf.image.id)
                changed.ClearField("shelf")
                await self._put(changed)
        return timedelta(0)

    async def refuse(self, target: pb.Server, why: str) -> None:
        """No node takes it: it stays away."""
        changed = copy_of(target)
        shelf.stay_away(changed)
        changed.waiting = ""
        await self._put(changed, why, target.shelf.request_id)
        log.warning("server not unshelved", server=target.meta.id, cause=why)

    async def _leave(self, target: pb.Server, changed: pb.Server) -> None:
        """Its capacity, its ports and the node's want go at one revision."""
        shelf.leave(changed)
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
            place_ports(self._store, txn, changed)
            txn.unwant(SERVERS, target.node, target.meta.id)
        log.info("server offloaded", server=target.meta.id, node=target.node)

    async def _put(self, changed: pb.Server, failure: str = "", request_id: str = "") -> None:
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
            if failure:
                asked_by = request_id or changed.shelf.request_id
                instance_action.note_failure(self._store, txn, changed.meta.id, asked_by, failure)


def change(store: Store, request: pb.ActOnServerRequest, request_id: str, changed: pb.Server) -> None:
    """Change the server as one of NAMES says. Raises FailedPrecondition, InvalidArgument."""
    action = str(request.WhichOneof("action"))
    server.check(changed, NAMES[action])
    if action == "shelve_offload":
        changed.shelf.phase = shelf.LEAVING
        return
    asked = request.unshelve
    if asked.HasField("availability_zone") or asked.node:
        _check_goal(store, changed, asked)
    if asked.HasField("availability_zone"):
        changed.spec.availability_zone = asked.availability_zone
    shelf.bring_back(changed, request_id, asked.node)


def _check_goal(store: Store, changed: pb.Server, asked: pb.ActOnServerRequest.Unshelve) -> None:
    """Where it is to go exists, and the node is in the zone."""
    if not shelf.is_away(changed):
        raise FailedPrecondition(
            f"Specifying an availability zone or a host when unshelving server {changed.meta.id} with status "
            "SHELVED is not supported, the server status must be SHELVED_OFFLOADED.",
            reason="UNSHELVE_INSTANCE_INVALID_STATE",
        )
    known = zones(store)
    if asked.availability_zone and asked.availability_zone not in known.values():
        raise InvalidArgument(
            "The requested availability zone is not available",
            reason="AVAILABILITY_ZONE_NOT_FOUND",
            field="availability_zone",
        )
    if asked.node and asked.node not in known:
        raise InvalidArgument(
            f"Compute host {asked.node} could not be found.", reason="COMPUTE_HOST_NOT_FOUND", field="host"
        )
    given = asked.HasField("availability_zone")
    zone = asked.availability_zone if given else changed.spec.availability_zone
    if asked.node and zone and known[asked.node] != zone:
        raise FailedPrecondition(
            f"Host {asked.node} is not in the availability zone {zone}.",
            reason="UNSHELVE_HOST_NOT_IN_AZ",
        )
