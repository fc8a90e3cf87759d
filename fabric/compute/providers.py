"""The methods of ResourceProviderService: compute nodes as providers, and those that operators make."""

import uuid
from collections.abc import Iterable, Mapping

from fabric.compute.aggregate import metadata
from fabric.compute.demand import counted_as
from fabric.compute.inventory import MOST, Metadata, capacity, inventories
from fabric.compute.node import NODES, allocated
from fabric.compute.provider import (
    PROVIDERS,
    account,
    as_provider,
    gives,
    inventory_fault,
    limits,
    used,
)
from fabric.compute.server import capacity_owner
from fabric.compute.trait import own_traits
from fabric.compute.v1 import compute_node_pb2
from fabric.compute.v1 import resource_provider_pb2 as pb
from fabric.compute.vocabulary import is_class, is_trait
from fabric.runtime import query
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.config import Compute
from fabric.runtime.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import Resource, copy_of, merge
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

_APART = frozenset({"meta.name", "spec.parent_id"})  # what is no matter of the generation
_RULES = {
    "inventories": "inventories:update",
    "traits": "traits:update",
    "aggregate_ids": "aggregates:update",
}


class Providers:
    """All providers, as the store knows them now."""

    def __init__(self, store: Store, settings: Compute) -> None:
        self._store = store
        self._settings = settings

    def all(self) -> list[pb.ResourceProvider]:
        """Compute nodes first."""
        said = metadata(self._store)
        nodes = [self._of_node(node, said.get(node.meta.name, {})) for node in self._store.table(NODES)]
        return [*nodes, *map(self._completed, self._store.table(PROVIDERS))]

    def find(self, id_: str) -> pb.ResourceProvider | None:
        """None: there is none."""
        node = self._store.find(NODES, id_)
        if node is not None:
            return self._of_node(node, metadata(self._store).get(node.meta.name, {}))
        provider = self._store.find(PROVIDERS, id_)
        return self._completed(provider) if provider is not None else None

    def expect(self, txn: Transaction, provider: pb.ResourceProvider) -> None:
        """Commit only if the provider is still as it was read."""
        if provider.node:
            txn.expect(NODES, self._store.get(NODES, provider.meta.id))
        else:
            txn.expect(PROVIDERS, provider)

    def _of_node(self, node: compute_node_pb2.ComputeNode, said: Metadata) -> pb.ResourceProvider:
        made = as_provider(node, said, self._settings)
        made.root_id = made.meta.id
        made.used.update(used(allocated(self._store, node.meta.name)))
        return made

    def _completed(self, provider: pb.ResourceProvider) -> pb.ResourceProvider:
        made, top = copy_of(provider), provider
        made.used.update(
            used({quota.resource: quota.usage for quota in self._store.quotas(account(provider))})
        )
        while top.spec.parent_id and (parent := self._store.find(PROVIDERS, top.spec.parent_id)) is not None:
            top = parent
        made.root_id = top.spec.parent_id or top.meta.id  # a compute node is the top of those below it
        return made


class ResourceProviders(Resource[pb.ResourceProvider]):
    """Compute nodes make themselves known; of them only what operators may say can change."""

    collection = PROVIDERS
    hidden = False
    policies = {
        "create": "placement:resource_providers:create",
        "get": "placement:resource_providers:show",
        "list": "placement:resource_providers:list",
        "update": "placement:resource_providers:update",
        "delete": "placement:resource_providers:delete",
    }

    def __init__(self, store: Store, policy: Policy, settings: Compute) -> None:
        super().__init__(store, policy)
        self._settings = settings
        self.providers = Providers(store, settings)

    async def ListResourceProviders(
        self, request: pb.ListResourceProvidersRequest, caller: Caller
    ) -> pb.ListResourceProvidersResponse:
        self.enforce_list(caller)
        check_need(self.store, request.need)
        found = [provider for provider in self.providers.all() if gives(provider, request.need)]
        if request.need.in_tree:
            tree = self.providers.find(request.need.in_tree)
            found = [p for p in found if tree is not None and p.root_id == tree.root_id]
        page, marker = query.select(found, request.query, pb.ResourceProvider)
        return pb.ListResourceProvidersResponse(resource_providers=page, next_marker=marker)

    @again
    async def UpdateResourceProvider(
        self, request: pb.UpdateResourceProviderRequest, caller: Caller
    ) -> pb.ResourceProvider:
        given, mask = request.resource_provider, request.update_mask
        for path in mask.paths:
            rule = _RULES.get(path.removeprefix("spec.").partition(".")[0], "update")
            self.policy.enforce(caller, f"placement:resource_providers:{rule}", {})
        old = self.find(given.meta.id, caller)
        if request.HasField("generation"):
            check_generation(old, request.generation)
        new = copy_of(old)
        merge(given, new, mask)
        new.meta.request_id = caller.request_id
        async with self.store.transaction() as txn:
            self.change(caller, new, old, txn, counts=not _APART.issuperset(mask.paths))
        return self.find(given.meta.id, caller)

    def own(self, caller: Caller, new: pb.ResourceProvider) -> None:
        """It is nobody's."""

    def visible(self, caller: Caller, message: pb.ResourceProvider) -> bool:
        """To whoever may see any."""
        return self.policy.allows(caller, self.policies["get"], {})

    def candidates(self, caller: Caller, asked: Query) -> list[pb.ResourceProvider]:
        """All."""
        return self.providers.all()

    def find(self, id_: str, caller: Caller) -> pb.ResourceProvider:
        """A compute node or another."""
        self.policy.enforce(caller, self.policies["get"], {})
        found = self.providers.find(id_)
        if found is None:
            raise self.missing(id_)
        return found

    def missing(self, id_: str) -> NotFound:
        """In Placement's words."""
        return NotFound(f"No resource provider with uuid {id_} found", reason="RESOURCE_PROVIDER_NOT_FOUND")

    def present(self, caller: Caller, message: pb.ResourceProvider) -> pb.ResourceProvider:
        """With usage and tree."""
        return self.providers.find(message.meta.id) or message

    def accept(
        self, caller: Caller, new: pb.ResourceProvider, old: pb.ResourceProvider | None, txn: Transaction
    ) -> None:
        """Names are unique over compute nodes too, trees have no circles, and words are known."""
        try:
            uuid.UUID(new.meta.id)
        except ValueError as error:
            raise InvalidArgument("The uuid of a provider is not one.", field="uuid") from error
        if not 0 < len(new.meta.name) <= 200:
            raise InvalidArgument("A provider's name has 1 to 200 characters.", field="name")
        if old is None and self.providers.find(new.meta.id) is not None:
            raise FailedPrecondition(
                f"Conflicting resource provider uuid: {new.meta.id} already exists.", reason="DUPLICATE_NAME"
            )
        name, owner = new.meta.name, self.store.owner
        if {owner(NODES, "name", name), owner(PROVIDERS, "name", name)} - {None, new.meta.id}:
            raise FailedPrecondition(
                f"Conflicting resource provider name: {new.meta.name} already exists.",
                reason="DUPLICATE_NAME",
            )
        if new.spec.parent_id and (old is None or old.spec.parent_id != new.spec.parent_id):
            self._check_parent(new, txn)
        check_words(self.store, new.spec)
        before = limits(old.spec) if old is not None else {}
        after = limits(new.spec)
        for counted in before.keys() - after.keys():
            txn.close(account(new), counted)
        for counted in after.keys() - before.keys() | {c for c in after if after[c] != before.get(c)}:
            txn.set_limit(account(new), counted, after[counted])

    def check_delete(self, caller: Caller, old: pb.ResourceProvider, txn: Transaction) -> None:
        """Only one of ours without children and allocations."""
        if old.node:
            raise FailedPrecondition(
                f"The resource provider {old.meta.name} is a compute node.", reason="RESOURCE_PROVIDER_IN_USE"
            )
        if self.store.table(PROVIDERS).count("spec.parent_id", old.meta.id):
            raise FailedPrecondition(
                f"Unable to delete parent resource provider {old.meta.id}: It has child resource providers.",
                reason="CANNOT_DELETE_PARENT",
            )
        if any(old.used.values()):
            raise FailedPrecondition(
                f"Unable to delete resource provider {old.meta.id}: Resource provider has allocations.",
                reason="RESOURCE_PROVIDER_IN_USE",
            )
        for counted in limits(old.spec):
            txn.close(account(old), counted)

    def change(
        self,
        caller: Caller,
        new: pb.ResourceProvider,
        old: pb.ResourceProvider,
        txn: Transaction,
        *,
        counts: bool = True,
    ) -> None:
        """Write it; new has what will be used of it then. counts: whether its generation goes on."""
        gone = old.spec.inventories.keys() - new.spec.inventories.keys()
        if kept := sorted(name for name in gone if new.used.get(name, 0)):
            raise FailedPrecondition(
                f"Inventory for '{', '.join(kept)}' on resource provider '{old.meta.id}' in use.",
                reason="INVENTORY_IN_USE",
            )
        new.meta.generation = old.meta.generation + counts
        if not old.node:
            self.accept(caller, new, old, txn)
            txn.update(PROVIDERS, new, counted=True)
            return
        if (new.meta.name, new.spec.parent_id) != (old.meta.name, old.spec.parent_id):
            raise InvalidArgument("The name and place of a compute node do not change.", field="name")
        check_words(self.store, new.spec)
        node = copy_of(self.store.get(NODES, old.meta.id))
        node.meta.generation = new.meta.generation
        self._say(node, new, old)
        txn.update(NODES, node, counted=True)
        if new.spec == old.spec:
            return
        said = metadata(self.store).get(node.meta.name, {})
        after = capacity(inventories(node, said, self._settings))
        closed = {counted_as(name) for name in old.spec.inventories} - after.keys()
        for counted, limit in {**after, **dict.fromkeys(closed, 0)}.items():
            txn.set_limit(capacity_owner(node.meta.name), counted, limit)

    # -- helpers

    def _say(
        self, node: compute_node_pb2.ComputeNode, new: pb.ResourceProvider, old: pb.ResourceProvider
    ) -> None:
        """Keep of what was said only what the node does not have by itself."""
        said: Mapping[str, object] = dict(node.spec.inventories)
        changed = {
            name: inventory
            for name, inventory in new.spec.inventories.items()
            if name in said or old.spec.inventories.get(name) != inventory
        }
        node.spec.ClearField("inventories")
        for name, inventory in changed.items():
            node.spec.inventories[name].CopyFrom(inventory)
        node.spec.traits[:] = sorted(set(new.spec.traits) - own_traits(node))
        node.spec.aggregate_ids[:] = new.spec.aggregate_ids

    def _check_parent(self, new: pb.ResourceProvider, txn: Transaction) -> None:
        parent = self.providers.find(new.spec.parent_id)
        if parent is None:
            raise InvalidArgument(
                f"parent provider UUID does not exist: {new.spec.parent_id}.", field="parent_provider_uuid"
            )
        above = parent
        while above.spec.parent_id and above.meta.id != new.meta.id:
            above = self.providers.find(above.spec.parent_id) or above
        if above.meta.id == new.meta.id:
            raise InvalidArgument(
                "creating loop in the provider tree is not allowed.", field="parent_provider_uuid"
            )
        self.providers.expect(txn, parent)


def check_generation(provider: pb.ResourceProvider, seen: int) -> None:
    """Raise Conflict if the caller has seen another."""
    if seen != provider.meta.generation:
        raise Conflict(
            f"resource provider generation conflict for provider {provider.meta.id}: "
            f"actual: {provider.meta.generation - 1}, given: {seen - 1}",
            reason="CONCURRENT_UPDATE",
        )


def check_need(store: Store, need: pb.ProviderNeed) -> None:
    """Raise InvalidArgument for words that are not known."""
    for name, amount in need.resources.items():
        if not is_class(store, name):
            raise InvalidArgument(f"Invalid resource class in resources parameter: {name}", field="resources")
        if not 1 <= amount <= MOST:
            raise InvalidArgument(f"Requested resource {name} is not a positive number.", field="resources")
    unknown = _unknown_traits(
        store, [*need.forbidden_traits, *(t for part in need.traits for t in part.names)]
    )
    if unknown:
        raise InvalidArgument(f"No such trait(s): {', '.join(unknown)}.", field="required")


def check_words(store: Store, spec: pb.ResourceProviderSpec) -> None:
    """Raise InvalidArgument for classes and traits that are not known, and for amounts that cannot be."""
    for name, inventory in spec.inventories.items():
        if not is_class(store, name):
            raise InvalidArgument(f"Unknown resource class in inventory: No such resource class {name}.")
        if fault := inventory_fault(name, inventory):
            raise InvalidArgument(fault, field="inventories")
    if unknown := _unknown_traits(store, spec.traits):
        raise InvalidArgument(f"No such trait(s): {', '.join(unknown)}.", field="traits")


def _unknown_traits(store: Store, names: Iterable[str]) -> list[str]:
    return sorted({name for name in names if not is_trait(store, name)})
