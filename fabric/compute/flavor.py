"""Flavors: who sees them, and what may change."""

from fabric.compute.collection import FLAVORS
from fabric.compute.v1 import flavor_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.resource import Resource
from fabric.runtime.store import Transaction
from fabric.type.v1.query_pb2 import Query

_FIXED = ("vcpus", "ram_mib", "root_gb", "ephemeral_gb", "swap_mib", "rxtx_factor", "public")


class Flavors(Resource[pb.Flavor]):
    """A flavor belongs to the cloud; one that is not public is seen by the projects that have access."""

    collection = FLAVORS
    policies = {
        "create": "os_compute_api:os-flavor-manage:create",
        "get": "os_compute_api:flavors",
        "update": "os_compute_api:os-flavor-manage:update",
        "delete": "os_compute_api:os-flavor-manage:delete",
    }

    def own(self, caller: Caller, new: pb.Flavor) -> None:
        """It is nobody's."""

    def visible(self, caller: Caller, message: pb.Flavor) -> bool:
        """Whether the caller may use it."""
        return message.spec.public or caller.is_admin or caller.project_id in message.spec.access_project_ids

    def candidates(self, caller: Caller, asked: Query) -> list[pb.Flavor]:
        """All; visibility leaves out what is not for the caller."""
        return list(self.store.table(self.collection))

    def accept(self, caller: Caller, new: pb.Flavor, old: pb.Flavor | None, txn: Transaction) -> None:
        """Sizes are checked when it is made, and never change."""
        if old is not None:
            changed = [name for name in _FIXED if getattr(new.spec, name) != getattr(old.spec, name)]
            if changed or new.meta.name != old.meta.name:
                what = changed[0] if changed else "name"
                raise InvalidArgument(f"The {what} of a flavor cannot change.", field=what)
            return
        if not new.meta.name.strip():
            raise InvalidArgument("A flavor needs a name.", field="name")
        if new.spec.vcpus < 1 or new.spec.ram_mib < 1:
            raise InvalidArgument("vcpus and ram must be at least 1.", field="vcpus")
        if min(new.spec.root_gb, new.spec.ephemeral_gb, new.spec.swap_mib) < 0:
            raise InvalidArgument("Disk sizes cannot be negative.", field="disk")
        if new.spec.rxtx_factor <= 0:
            new.spec.rxtx_factor = 1.0
