"""What the resources of the network service share: hidden when marked, made singly or in batches, fenced removal."""

import uuid
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, cast

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from fabric.network import removal
from fabric.network.collection import NETWORKS, marked
from fabric.network.grant import EXTERNAL, grant
from fabric.network.v1 import network_pb2
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Record, Store, Transaction
from fabric.type.v1.query_pb2 import Filter, Query

M = TypeVar("M", bound=Record)
TRIES = 12

# a resource to make, and the paths that the caller has set although they look unset
Asked = tuple[M, frozenset[str]]


class NetworkResource(Resource[M]):
    """A Resource whose marked records are gone for callers.

    Defaults, where an unset field is not the answer to "what did the caller say", look at given (paths).
    """

    narrow: dict[str, str] = {}  # filter path -> index that finds the candidates of a list

    # -- rules to override

    def admit(
        self, caller: Caller, new: M, given: frozenset[str], txn: Transaction, earlier: Sequence[M]
    ) -> None:
        """Validate and complete a new resource; earlier: those of the same batch."""

    def change(self, caller: Caller, new: M, old: M, txn: Transaction) -> None:
        """Validate and complete a changed resource."""

    # -- creation

    async def make(self, message: M, given: FieldMask, caller: Caller) -> M:
        """One."""
        return (await self.make_all([(message, frozenset(given.paths))], caller))[0]

    @again
    async def make_all(self, asked: Sequence[Asked[M]], caller: Caller) -> list[M]:
        """All of them in one transaction, or none."""
        made = await self._try(asked, caller)
        return [self.present(caller, self.kept(new)) for new in made]

    async def _try(self, asked: Sequence[Asked[M]], caller: Caller) -> list[M]:
        made: list[M] = []
        async with self.store.transaction() as txn:
            for message, given in asked:
                new = copy_of(message)
                self.name_it(caller, new)
                self.enforce("create", caller, new)
                self.admit(caller, new, given, txn, made)
                txn.create(self.collection, new)
                made.append(new)
        return made

    def own(self, caller: Caller, new: M) -> None:
        if new.meta.project_id not in ("", caller.project_id) and not sees_all(caller):
            raise InvalidArgument(
                "Specifying 'project_id' or 'tenant_id' other than the authenticated project in request requires "
                "admin privileges",
                reason="HTTP_BAD_REQUEST",
                field="project_id",
            )
        super().own(caller, new)

    def name_it(self, caller: Caller, new: M) -> None:
        """Say who it is and whose."""
        new.meta.id = new.meta.id or str(uuid.uuid4())
        self.own(caller, new)
        new.meta.request_id = caller.request_id

    def accept(self, caller: Caller, new: M, old: M | None, txn: Transaction) -> None:
        if old is None:
            self.admit(caller, new, frozenset(), txn, [])
        else:
            self.change(caller, new, old, txn)

    # -- removal of what others may be starting to use

    def check_removal(self, caller: Caller, old: M) -> None:
        """Raise FailedPrecondition for what is never removed."""

    @again
    async def remove(self, id_: str, caller: Caller, kind: removal.Removable) -> M:
        """Remove it, fenced against those who begin to use it. Raises FailedPrecondition: it is in use."""
        old = self.find(id_, caller)
        self.enforce("delete", caller, old)
        self.check_removal(caller, old)
        await removal.remove(self.store, kind, old)
        return old

    # -- reads

    def visible(self, caller: Caller, message: M) -> bool:
        if marked(message):
            return False
        return message.meta.project_id == caller.project_id or self.policy.allows(
            caller, self.policies["get"], self.target_for(caller, message)
        )

    def enforce(self, verb: str, caller: Caller, message: M) -> None:
        self.policy.enforce(caller, self.policies[verb], self.target_for(caller, message))

    def candidates(self, caller: Caller, asked: Query) -> list[M]:
        """By the narrowest index that the filters name; else all for those who see all, else the project's."""
        table = self.store.table(self.collection)
        for part in asked.filters:
            index = self.narrow.get(part.path)
            if index is not None and part.op in (Filter.OP_UNSPECIFIED, Filter.OP_IN):
                if index == "id":
                    found = (self.store.find(self.collection, value) for value in part.values)
                    return [message for message in found if message is not None]
                return list({m.meta.id: m for value in part.values for m in table.by(index, value)}.values())
        if sees_all(caller):
            return list(table)
        return self.reachable(caller)

    def reachable(self, caller: Caller) -> list[M]:
        """What somebody may see who does not see everything."""
        return self.store.table(self.collection).by("project", caller.project_id)

    def target_for(self, caller: Caller, message: M) -> dict[str, Any]:
        """The attributes that rules compare, as the caller sees them: what is shared is shared with somebody."""
        return self.target(message)

    def network_target(self, caller: Caller, network_id: str) -> dict[str, Any]:
        """What rules compare of the network that something is on."""
        network = self.store.find(NETWORKS, network_id)
        owner = network.meta.project_id if network is not None else ""
        return {
            "network:project_id": owner,
            "network:tenant_id": owner,
            "shared": grant(self.store, network_id, caller.project_id) is not None,
            "router:external": grant(self.store, network_id, caller.project_id, EXTERNAL) is not None,
        }

    def network(self, caller: Caller, network_id: str) -> network_pb2.Network:
        """The network that something is asked to be on, if the caller may see it. Raises NotFound."""
        found = self.store.find(NETWORKS, network_id)
        if found is not None and not marked(found):
            owner = found.meta.project_id
            if owner == caller.project_id or self.policy.allows(
                caller, "get_network", {"project_id": owner} | access(self.store, caller, network_id)
            ):
                return found
        raise NotFound(
            f"Network {network_id} could not be found.", reason="NETWORK_NOT_FOUND", field="network_id"
        )

    def require(self, caller: Caller, message: M, rules: Iterable[str]) -> None:
        """Enforce the rules of single attributes."""
        target: dict[str, Any] | None = None
        for rule in rules:
            target = self.target_for(caller, message) if target is None else target
            self.policy.enforce(caller, rule, target)


def access(store: Store, caller: Caller, network_id: str) -> dict[str, Any]:
    """How the network is there for those whose it is not."""
    return {
        "shared": grant(store, network_id, caller.project_id) is not None,
        "router:external": grant(store, network_id, caller.project_id, EXTERNAL) is not None,
    }


def is_external(store: Store, caller: Caller, network: network_pb2.Network) -> bool:
    """Whether the network leads outside, for the caller."""
    return network.spec.external or grant(store, network.meta.id, caller.project_id, EXTERNAL) is not None


def sees_all(caller: Caller) -> bool:
    """Whether lists show every project's."""
    return "admin" in caller.roles or "service" in caller.roles


def changed(old: Record, new: Record, paths: Iterable[str]) -> set[str]:
    """Which of the paths differ."""
    return {path for path in paths if _at(old, path) != _at(new, path)}


def _at(message: Any, path: str) -> Any:
    for name in path.split("."):
        message = getattr(message, name)
    return message


def plain(message: M) -> M:
    """A copy as it rests: without etag and status."""
    copy = copy_of(message)
    copy.meta.etag = ""
    if "status" in cast(Message, copy).DESCRIPTOR.fields_by_name:
        copy.ClearField("status")
    return copy
