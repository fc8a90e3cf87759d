"""Server groups: which servers belong on one node, or on different ones."""

from fabric.compute.collection import SERVER_GROUPS
from fabric.compute.server import SERVERS
from fabric.compute.v1 import server_group_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Transaction

_API = "os_compute_api:os-server-groups"


class ServerGroups(Resource[pb.ServerGroup]):
    """A group never changes; its members are the servers that were made with its hint."""

    collection = SERVER_GROUPS
    policies = {
        "create": f"{_API}:create",
        "get": f"{_API}:show",
        "list": f"{_API}:index",
        "update": f"{_API}:create",
        "delete": f"{_API}:delete",
    }

    def accept(
        self, caller: Caller, new: pb.ServerGroup, old: pb.ServerGroup | None, txn: Transaction
    ) -> None:
        """A name, a policy, and a limit a node only with anti-affinity."""
        if old is not None:
            raise InvalidArgument("A server group cannot change.", field="server_group")
        if not 0 < len(new.meta.name.strip()) <= 255:
            raise InvalidArgument("A server group's name has 1 to 255 characters.", field="name")
        spec = new.spec
        if not spec.policy:
            raise InvalidArgument("A server group needs a policy.", field="policy")
        if spec.max_server_per_host < 0:
            raise InvalidArgument("max_server_per_host cannot be negative.", field="max_server_per_host")
        if spec.max_server_per_host and spec.policy != pb.ServerGroupSpec.POLICY_ANTI_AFFINITY:
            raise InvalidArgument("Only anti-affinity policy supports rules.", field="rules")
        spec.user_id = caller.user_id

    def present(self, caller: Caller, message: pb.ServerGroup) -> pb.ServerGroup:
        """With its members."""
        told = copy_of(message)
        members = self.store.table(SERVERS).by("group", message.meta.id)
        told.server_ids.extend(s.meta.id for s in members if not s.meta.HasField("delete_time"))
        return told
