"""Tasks: how imports went. Written by this service only, forgotten some time after they end."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from google.protobuf.struct_pb2 import Struct

from fabric.image.collection import TASKS
from fabric.image.v1 import image_pb2
from fabric.image.v1 import task_pb2 as pb
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import NotFound
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Transaction
from fabric.type.v1.query_pb2 import Query

KEPT = timedelta(hours=48)
IMPORT = "api_image_import"
ENDED = (pb.Task.STATE_SUCCESS, pb.Task.STATE_FAILURE)


class Tasks(Resource[pb.Task]):
    """Get and list; imports make them."""

    collection = TASKS
    policies: ClassVar = {"create": "add_task", "get": "get_task", "list": "get_tasks"}

    def missing(self, id_: str) -> NotFound:
        return NotFound(f"No task found with ID {id_}", reason="TASK_NOT_FOUND", id=id_)

    def visible(self, caller: Caller, message: pb.Task) -> bool:
        return message.meta.project_id == caller.project_id or caller.is_admin

    async def list_tasks(self, request: pb.ListTasksRequest, caller: Caller) -> pb.ListTasksResponse:
        """All of an image, or all that the caller may see."""
        table = self.store.table(TASKS)
        if request.image_id:
            found = table.by("image", request.image_id)
        else:
            self.policy.enforce(caller, "tasks_api_access", {"project_id": caller.project_id})
            found = list(table) if caller.is_admin else table.by("project", caller.project_id)
        page, marker = query.select(found, request.query or Query(), pb.Task)
        return pb.ListTasksResponse(tasks=page, next_marker=marker)


def note(
    txn: Transaction,
    caller: Caller,
    *,
    id_: str,
    image: image_pb2.Image,
    given: Mapping[str, Any],
    request: Struct,
    state: pb.Task.State.ValueType = pb.Task.STATE_PROCESSING,
    message: str = "",
    kind: str = IMPORT,
) -> None:
    """Note an import in the transaction: that it is under way, or already how it ended."""
    task = pb.Task(type=kind, image_id=image.meta.id, user_id=caller.user_id, state=state, message=message)
    task.meta.id, task.meta.project_id, task.meta.request_id = id_, image.meta.project_id, caller.request_id
    task.input.update({"image_id": image.meta.id, **given})
    task.input.fields["import_req"].struct_value.CopyFrom(request)
    task.result.update({"image_id": image.meta.id})
    if state in ENDED:
        task.expire_time.FromDatetime(datetime.now(UTC) + KEPT)
    txn.create(TASKS, task)


def end(txn: Transaction, task: pb.Task | None, problem: str) -> None:
    """Note in the transaction how it ended; problem "": well."""
    if task is None or task.state in ENDED:
        return
    ended = copy_of(task)
    ended.state = pb.Task.STATE_FAILURE if problem else pb.Task.STATE_SUCCESS
    ended.message = problem
    ended.expire_time.FromDatetime(datetime.now(UTC) + KEPT)
    txn.update(TASKS, ended)


def expired(task: pb.Task, now: datetime) -> bool:
    """Whether nobody needs it any more."""
    return task.HasField("expire_time") and task.expire_time.ToDatetime(UTC) < now
