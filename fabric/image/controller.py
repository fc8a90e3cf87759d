"""What follows from the agents' reports: imports end, broken uploads are undone, deleted images go."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog

from fabric.image import image as rules
from fabric.image import task as tasks
from fabric.image.collection import TASKS
from fabric.image.image import IMAGES
from fabric.image.upload import Agents, unbind
from fabric.image.v1 import image_pb2 as pb
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.log import REQUEST_ID
from fabric.runtime.reconcile import Loop
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store

log = structlog.get_logger(__name__)

Upload, Status = pb.Upload, pb.ImageStatus
_STREAMS = (Upload.KIND_PUT, Upload.KIND_STAGE)
_DEAD = timedelta(seconds=20)  # a node that is away for longer has lost the streams that it was taking
_SWEEP = timedelta(minutes=10)


def loops(store: Store, config: Config, client: Client) -> dict[str, Callable[[], Awaitable[None]]]:
    """The leader loops of the image service."""
    images = ImageLoop(store)
    found = TaskLoop(store)
    return {"image.images": images.run, "image.tasks": found.run}


class ImageLoop:
    """Takes the next step of an image that waits for one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._agents = Agents(store)
        self._dead: dict[str, datetime] = {}  # nodes whose agent was missed first at that time
        self._loop = Loop("image.images", self.reconcile, store.table(IMAGES).ids)
        store.table(IMAGES).subscribe(self._loop.wake)
        store.on_life(self._wake_node)

    async def run(self) -> None:
        await self._loop.run()

    def _wake_node(self, node: str) -> None:
        if node in self._agents.alive():
            self._dead.pop(node, None)
        for image in self._store.table(IMAGES).by("node", node):
            self._loop.wake(image.meta.id)

    async def reconcile(self, id_: str) -> timedelta | None:
        image = self._store.find(IMAGES, id_)
        if image is None:
            return None
        if image.meta.HasField("delete_time"):
            await self._forget(image)
        elif rules.failed(image) and image.status.reason != "MISSING":
            await give_up(self._store, image, image.status.message or "The upload broke.")
        elif self._is_abandoned(image):
            waited = datetime.now(UTC) - self._dead.setdefault(image.node, datetime.now(UTC))
            if waited < _DEAD:
                return _DEAD - waited
            await give_up(self._store, image, f"The image agent of {image.node} is gone.")
        elif image.upload.task_id and rules.stored(image):
            if image.status.problem:
                await give_up(self._store, image, image.status.message)
            else:
                await self._finish(image)
        return None

    def _is_abandoned(self, image: pb.Image) -> bool:
        """Whether a stream was on its way to an agent that has died: it died with it."""
        return (
            bool(image.upload.id)
            and image.upload.kind in _STREAMS
            and not rules.stored(image)
            and image.node not in self._agents.alive()
        )

    async def _forget(self, image: pb.Image) -> None:
        """Remove the record when its agent holds nothing of it any more."""
        if image.node and not image.status.released:
            return
        async with self._store.transaction() as txn:
            txn.remove(IMAGES, image)
        log.info("image removed", image=image.meta.id, **{REQUEST_ID: image.meta.request_id})

    async def _finish(self, image: pb.Image) -> None:
        new = copy_of(image)
        new.upload.task_id = ""
        if new.upload.kind == Upload.KIND_STAGE:
            new.upload.kind = Upload.KIND_PUT
        new.upload.ClearField("source")
        new.import_mark.importing = ""
        async with self._store.transaction() as txn:
            txn.update(IMAGES, new)
            tasks.end(txn, self._store.find(TASKS, image.upload.task_id), "")
        log.info("image imported", image=image.meta.id, task=image.upload.task_id)


async def give_up(store: Store, image: pb.Image, problem: str) -> None:
    """What it has of bytes, or was to have, is no more: it is queued again."""
    new = copy_of(image)
    unbind(new)
    new.import_mark.importing = ""
    if image.upload.task_id:
        new.import_mark.failed = rules.STORE
    elif not image.HasField("import_mark"):
        new.ClearField("import_mark")
    async with store.transaction() as txn:
        txn.update(IMAGES, new)
        tasks.end(txn, store.find(TASKS, image.upload.task_id), problem)
    log.info("image queued again", image=image.meta.id, cause=problem, upload=image.upload.id)


class TaskLoop:
    """Forgets tasks that ended long ago, and ends those whose image is gone."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop = Loop("image.tasks", self.reconcile, store.table(TASKS).ids, resync=_SWEEP)

    async def run(self) -> None:
        await self._loop.run()

    async def reconcile(self, id_: str) -> timedelta | None:
        task = self._store.find(TASKS, id_)
        if task is None:
            return None
        if tasks.expired(task, datetime.now(UTC)):
            async with self._store.transaction() as txn:
                txn.remove(TASKS, task)
            return None
        image = self._store.find(IMAGES, task.image_id)
        if task.state not in tasks.ENDED and (image is None or image.upload.task_id != id_):
            async with self._store.transaction() as txn:
                tasks.end(txn, task, "The import was given up.")
        return None
