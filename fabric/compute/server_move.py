"""What ActOnServer does to begin, confirm and revert migrations: checks, and the change of the record."""

import uuid
from collections.abc import Mapping

from fabric.compute import migration, server
from fabric.compute.collection import FLAVORS
from fabric.compute.node import NODES, lives, node_id
from fabric.compute.server_create import flavor_copy
from fabric.compute.v1 import migration_pb2
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.store import Store

NAMES: Mapping[str, str] = {  # as the Compute API calls them, and records them as actions
    "migrate_live": "live-migration",
    "migrate": "migrate",
    "resize": "resize",
    "confirm_resize": "confirmResize",
    "revert_resize": "revertResize",
    "evacuate": "evacuate",
}


def change(
    store: Store, request: pb.ActOnServerRequest, caller: Caller, changed: pb.Server
) -> migration_pb2.Migration | None:
    """Change the server as the action says; returns the migration that begins. Raises FailedPrecondition."""
    action = str(request.WhichOneof("action"))
    if action != "evacuate":
        server.check(changed, NAMES[action])
    id_ = str(uuid.uuid4())
    match action:
        case "migrate_live":
            _check_target(store, changed, request.migrate_live.node)
            return migration.begin(changed, migration.LIVE, id_, caller.user_id, request.migrate_live.node)
        case "migrate":
            _check_target(store, changed, request.migrate.node)
            return migration.begin(changed, migration.COLD, id_, caller.user_id, request.migrate.node)
        case "resize":
            flavor = _flavor(store, changed, request.resize.flavor_id, caller)
            begun = migration.begin(changed, migration.RESIZE, id_, caller.user_id)
            begun.new_flavor_id = flavor.id
            changed.move.flavor.CopyFrom(flavor)
            changed.spec.disk_config = request.resize.disk_config or changed.spec.disk_config
            return begun
        case "confirm_resize":
            changed.move.phase = migration.CONFIRMING
        case "revert_resize":
            changed.move.phase = migration.REVERTING
        case "evacuate":
            return _evacuate(store, changed, request.evacuate.node, caller.user_id, id_)
    return None


def _evacuate(store: Store, changed: pb.Server, node: str, user_id: str, id_: str) -> migration_pb2.Migration:
    record = store.find(NODES, node_id(changed.node))
    condemned = record is not None and record.spec.forced_down
    if changed.node in lives(store) and not condemned:
        raise InvalidArgument(
            f"Compute service of {changed.node} is still in use.", reason="COMPUTE_SERVICE_IN_USE"
        )
    server.check(changed, NAMES["evacuate"])
    _check_target(store, changed, node)
    return migration.begin(changed, migration.EVACUATION, id_, user_id, node)


def _check_target(store: Store, changed: pb.Server, node: str) -> None:
    if node and store.find(NODES, node_id(node)) is None:
        raise InvalidArgument(
            f"Compute host {node} could not be found.", reason="COMPUTE_HOST_NOT_FOUND", field="host"
        )
    if node and node == changed.node:
        raise InvalidArgument(
            f"Unable to migrate instance ({changed.meta.id}) to current host ({node}).",
            reason="UNABLE_TO_MIGRATE_TO_SELF",
            field="host",
        )


def _flavor(store: Store, changed: pb.Server, flavor_id: str, caller: Caller) -> pb.FlavorCopy:
    """The flavor that the server may become of."""
    found = store.find(FLAVORS, flavor_id)
    if found is None or not (
        found.spec.public or caller.is_admin or caller.project_id in found.spec.access_project_ids
    ):
        raise InvalidArgument(
            f"Flavor {flavor_id} could not be found.", reason="FLAVOR_NOT_FOUND", field="flavorRef"
        )
    flavor, now = flavor_copy(found), changed.spec.flavor
    if flavor.id == now.id:
        raise InvalidArgument("When resizing, instances must change flavor!", field="flavorRef")
    if now.root_gb and not flavor.root_gb:
        raise InvalidArgument(
            "Resize to zero disk flavor is not allowed.", reason="CANNOT_RESIZE_DISK", field="flavorRef"
        )
    smaller = [
        name for name in ("root_gb", "ephemeral_gb", "swap_mib") if getattr(flavor, name) < getattr(now, name)
    ]
    if smaller:
        raise InvalidArgument(
            "Server disk was unable to be resized because: disks do not shrink.",
            reason="CANNOT_RESIZE_DISK",
            field="flavorRef",
        )
    return flavor
