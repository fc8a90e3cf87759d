"""Instance actions: what was asked of a server, kept for a while after it is gone."""

from datetime import UTC, datetime, timedelta

from fabric.compute.collection import ACTIONS
from fabric.compute.server import SERVERS
from fabric.compute.v1 import instance_action_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

KEPT = timedelta(days=30)
KEPT_AFTER_DELETE = timedelta(hours=1)
_MOST = 50  # of one server; the oldest go first


def record(
    store: Store,
    txn: Transaction,
    server: server_pb2.Server,
    name: str,
    caller: Caller,
    *,
    done: bool = False,
) -> None:
    """Write in the server's own transaction what is asked of it; done: nothing of it is left to do."""
    id_ = f"{server.meta.id}:{caller.request_id}"
    if store.find(ACTIONS, id_) is not None:
        return
    action = pb.InstanceAction(
        server_id=server.meta.id,
        action=name,
        user_id=caller.user_id,
        generation=server.meta.generation + (not done),
        node=server.node,
    )
    action.meta.id, action.meta.project_id = id_, server.meta.project_id
    action.meta.request_id = caller.request_id
    txn.create(ACTIONS, action)
    known = sorted(store.table(ACTIONS).by("server_id", server.meta.id), key=_age)
    for old in known[: max(0, len(known) - _MOST)]:
        txn.remove(ACTIONS, old)


def note_failure(store: Store, txn: Transaction, server_id: str, request_id: str, message: str) -> None:
    """Write beside what was asked by the request why it did not come to be."""
    action = store.find(ACTIONS, f"{server_id}:{request_id}")
    if action is not None and action.message != message:
        failed = copy_of(action)
        failed.message = message
        txn.update(ACTIONS, failed)


def note_last_failure(store: Store, txn: Transaction, server_id: str, name: str, message: str) -> None:
    """The same beside the last request of that name."""
    asked = [action for action in store.table(ACTIONS).by("server_id", server_id) if action.action == name]
    if asked:
        note_failure(store, txn, server_id, max(asked, key=_age).meta.request_id, message)


def end(store: Store, txn: Transaction, server_id: str, request_id: str, message: str) -> None:
    """Note that what outlives its call is over; message: why it failed, empty: it went well."""
    action = store.find(ACTIONS, f"{server_id}:{request_id}")
    if action is not None:
        ended = copy_of(action)
        ended.message = message
        txn.update(ACTIONS, ended)


def _age(action: pb.InstanceAction) -> tuple[int, int]:
    return action.meta.create_time.seconds, action.meta.create_time.nanos


class InstanceActions:
    """The methods of InstanceActionService."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    async def GetInstanceAction(
        self, request: pb.GetInstanceActionRequest, caller: Caller
    ) -> pb.InstanceAction:
        for action in self._of(request.server_id, caller, "show"):
            if action.meta.request_id == request.request_id:
                return action
        raise NotFound(
            f"Action for request_id {request.request_id} on instance {request.server_id} not found",
            reason="ACTION_NOT_FOUND",
        )

    async def ListInstanceActions(
        self, request: pb.ListInstanceActionsRequest, caller: Caller
    ) -> pb.ListInstanceActionsResponse:
        found = self._of(request.server_id, caller, "list")
        page, marker = query.select(found, request.query, pb.InstanceAction)
        return pb.ListInstanceActionsResponse(instance_actions=page, next_marker=marker)

    def _of(self, server_id: str, caller: Caller, verb: str) -> list[pb.InstanceAction]:
        found = self._store.table(ACTIONS).by("server_id", server_id)
        found = [
            a
            for a in found
            if self._policy.allows(
                caller, f"os_compute_api:os-instance-actions:{verb}", {"project_id": a.meta.project_id}
            )
        ]
        if not found:
            raise NotFound(
                f"Instance {server_id} could not be found.", reason="SERVER_NOT_FOUND", id=server_id
            )
        return found


async def expire(store: Store, server_id: str) -> timedelta | None:
    """Forget the actions of a server that are too old, or whose server is long gone."""
    kept = KEPT if store.find(SERVERS, server_id) is not None else KEPT_AFTER_DELETE
    now = datetime.now(UTC)
    for action in store.table(ACTIONS).by("server_id", server_id):
        if now - action.meta.create_time.ToDatetime(UTC) > kept:
            async with store.transaction() as txn:
                txn.remove(ACTIONS, action)
    return None
