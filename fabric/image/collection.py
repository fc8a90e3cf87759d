"""What rests in etcd below /fabric/image; the images themselves are beside their rules."""

from typing import Any

from fabric.image.image import IMAGES
from fabric.image.v1 import metadef_pb2, task_pb2
from fabric.runtime.store import UNLIMITED, Collection

TASKS = Collection(
    service="image",
    name="tasks",
    message=task_pb2.Task,
    indexes={"image": lambda task: (task.image_id,)},
)

NAMESPACES = Collection(service="image", name="metadef_namespaces", message=metadef_pb2.Namespace)

COLLECTIONS: list[Collection[Any]] = [IMAGES, TASKS, NAMESPACES]

LIMITS = {"image.image": UNLIMITED}
