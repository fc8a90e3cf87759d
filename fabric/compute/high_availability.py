"""Servers that ask for high availability: the leader's loop that evacuates them from a node that died."""

import uuid
from datetime import timedelta

import structlog

from fabric.compute import migration, shelf
from fabric.compute.absence import Absences
from fabric.compute.migration import MIGRATIONS
from fabric.compute.server import SERVERS
from fabric.compute.v1 import server_pb2 as pb
from fabric.identity.v1 import project_pb2, project_pb2_grpc
from fabric.runtime.client import Client
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store

log = structlog.get_logger(__name__)

KEY = (
    "fabric:ha"  # the metadata key of a server, and the tag of a project whose servers ask for it by default
)
_YES = frozenset({"1", "true", "yes", "on"})


def wants_it(server: pb.Server) -> bool:
    """Whether it asks to run elsewhere when its node dies: by its metadata, else as its project."""
    said = server.spec.metadata.get(KEY)
    return server.spec.high_availability if said is None else said.lower() in _YES


async def project_wants_it(client: Client, project_id: str) -> bool:
    """Whether the servers of the project are highly available where they do not say themselves: by its tags."""
    request = project_pb2.GetProjectRequest(id=project_id)
    project = await client.call(project_pb2_grpc.ProjectServiceStub, "GetProject", request)
    return KEY in project.meta.tags


class HighAvailability:
    """A node is looked at when its life ends and when the time is over in which it fences itself."""

    def __init__(self, store: Store, absences: Absences) -> None:
        self._store = store
        self._absences = absences

    async def reconcile(self, node: str) -> timedelta | None:
        """Begin to evacuate what asks for it. The migrations themselves are the lifecycle's."""
        left = self._absences.left(node)
        if left is None or left:
            return left
        for server in self._store.table(SERVERS).by("node", node):
            if _may_go(server):
                await self._evacuate(server)
        return timedelta(seconds=1)  # also what was in another migration, until the node is back

    async def _evacuate(self, server: pb.Server) -> None:
        changed = copy_of(server)
        begun = migration.begin(changed, migration.EVACUATION, str(uuid.uuid4()))
        async with self._store.transaction() as txn:
            txn.update(SERVERS, changed)
            txn.create(MIGRATIONS, begun)
        log.warning("server evacuated for high availability", server=server.meta.id, node=server.node)


def _may_go(server: pb.Server) -> bool:
    """Those on another way already come first to its end; those that never ran stay what they are."""
    deleted = server.meta.HasField("delete_time")
    goes = deleted or migration.is_moving(server) or shelf.is_put_away(server)
    return wants_it(server) and not (goes or server.HasField("fault"))
