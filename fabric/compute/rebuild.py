"""Rebuild: new disks of an image for a server that stays where it is, with its ports, addresses and claims."""

from collections.abc import Callable

from fabric.compute import server as rules
from fabric.compute.server_create import ServerCreation, check_plain
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.store import Store

_META = frozenset({"name", "description"})
_SPEC = frozenset(
    {
        "metadata",
        "key_name",
        "user_data",
        "personality",
        "hostname",
        "access_ipv4",
        "access_ipv6",
        "disk_config",
    }
)


class Rebuilds:
    """The record says from which generation on its disks must be; its agent makes them, once."""

    def __init__(self, store: Store, creation: ServerCreation) -> None:
        self._store = store
        self._creation = creation

    async def prepare(
        self, server: pb.Server, asked: pb.ActOnServerRequest.Rebuild, caller: Caller
    ) -> Callable[[pb.Server], None]:
        """The change of the record, with what it needs looked up. Raises InvalidArgument, FailedPrecondition."""
        rules.check_rebuild(server)
        image = await self._creation.image(asked.image_id, server.spec.flavor, caller)
        limit = self._store.quota(server.meta.project_id, "compute.metadata_items").limit

        def change(changed: pb.Server) -> None:
            rules.check_rebuild(changed)
            _copy(asked, changed)
            if "spec.key_name" in asked.update_mask.paths:
                # else it stays, be it another user's or gone by now
                changed.spec.ClearField("public_key")
                changed.spec.ClearField("key_type")
                self._creation.fill_key(changed.spec, caller)
            check_plain(changed, limit)
            changed.spec.image.CopyFrom(image)
            rules.rebuild(changed)

        return change


def _copy(asked: pb.ActOnServerRequest.Rebuild, changed: pb.Server) -> None:
    """Take over what is named."""
    for path in asked.update_mask.paths:
        part, _, name = path.partition(".")
        if name not in {"meta": _META, "spec": _SPEC}.get(part, ()):
            raise InvalidArgument(f"{path[:64]!r} does not change with a rebuild.", field=path[:64])
    clean = pb.Server()
    asked.update_mask.MergeMessage(asked.server, clean)
    for path in asked.update_mask.paths:
        part, _, name = path.partition(".")
        getattr(changed, part).ClearField(name)
    changed.MergeFrom(clean)
