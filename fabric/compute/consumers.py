"""The methods of ConsumerService: who takes what of which provider, and who could."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from typing import Any

from fabric.compute.allocation import Forest
from fabric.compute.consumer import CONSUMERS, as_consumer
from fabric.compute.node import NODES
from fabric.compute.provider import PROVIDERS, account, shortfall
from fabric.compute.providers import ResourceProviders, check_generation, check_need, check_words
from fabric.compute.server import SERVERS
from fabric.compute.v1 import consumer_pb2 as pb
from fabric.compute.v1.resource_provider_pb2 import ResourceProvider
from fabric.compute.vocabulary import is_class
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import Conflict, FailedPrecondition, InvalidArgument, NotFound, QuotaExceeded
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Collection, Store, Transaction

_MOST_CANDIDATES = 1000


class Consumers:
    """Servers are consumers too; what they take only the scheduler changes."""

    def __init__(self, store: Store, policy: Policy, resources: ResourceProviders) -> None:
        self._store = store
        self._policy = policy
        self._resources, self._providers = resources, resources.providers

    async def GetConsumer(self, request: pb.GetConsumerRequest, caller: Caller) -> pb.Consumer:
        self._policy.enforce(caller, "placement:allocations:list", {})
        server = self._store.find(SERVERS, request.id)
        found = as_consumer(server) if server is not None and server.node else copy_of(self._find(request.id))
        for part in found.allocations:
            if (provider := self._providers.find(part.provider_id)) is not None:
                part.provider_generation = provider.meta.generation
        return found

    async def ListConsumers(
        self, request: pb.ListConsumersRequest, caller: Caller
    ) -> pb.ListConsumersResponse:
        if request.provider_id:
            self._policy.enforce(caller, "placement:allocations:list", {})
        else:
            self._policy.enforce(caller, "placement:usages", {"project_id": request.project_id})
        found = [
            consumer
            for consumer in (*self._servers(request), *self._others(request))
            if request.project_id in ("", consumer.meta.project_id)
            and request.user_id in ("", consumer.user_id)
        ]
        return pb.ListConsumersResponse(consumers=found)

    async def SetConsumers(self, request: pb.SetConsumersRequest, caller: Caller) -> pb.SetConsumersResponse:
        self._policy.enforce(caller, "placement:allocations:manage", {})
        return pb.SetConsumersResponse(consumers=await self._write(request.changes, (), caller))

    async def Reshape(self, request: pb.ReshapeRequest, caller: Caller) -> pb.ReshapeResponse:
        self._policy.enforce(caller, "placement:reshaper:reshape", {})
        await self._write(request.changes, request.providers, caller)
        return pb.ReshapeResponse()

    @again
    async def DeleteConsumer(
        self, request: pb.DeleteConsumerRequest, caller: Caller
    ) -> pb.DeleteConsumerResponse:
        self._policy.enforce(caller, "placement:allocations:delete", {})
        self._check_no_server(request.id)
        async with self._store.transaction() as txn:
            txn.remove(CONSUMERS, self._find(request.id))
        return pb.DeleteConsumerResponse()

    async def ListAllocationCandidates(
        self, request: pb.ListAllocationCandidatesRequest, caller: Caller
    ) -> pb.ListAllocationCandidatesResponse:
        self._policy.enforce(caller, "placement:allocation_candidates:list", {})
        for need in (*request.needs, request.root):
            check_need(self._store, need)
        suffixes = [need.suffix for need in request.needs]
        _check_once("need", suffixes)
        if any(not part.suffixes or {*part.suffixes} - {*suffixes} for part in request.subtrees):
            raise InvalidArgument("A subtree names a need that is not asked for.", field="subtrees")
        most = min(request.limit or _MOST_CANDIDATES, _MOST_CANDIDATES)
        forest = Forest(self._providers.all())
        found = list(islice(forest.candidates(request), most))
        tops = dict.fromkeys(top for candidate in found for top in forest.tops(candidate))
        return pb.ListAllocationCandidatesResponse(
            candidates=found, providers=[provider for top in tops for provider in forest.trees[top]]
        )

    # -- helpers

    def _find(self, id_: str) -> pb.Consumer:
        found = self._store.find(CONSUMERS, id_)
        if found is None:
            raise NotFound(f"No allocations for consumer '{id_}'", reason="CONSUMER_NOT_FOUND")
        return found

    def _servers(self, request: pb.ListConsumersRequest) -> Iterator[pb.Consumer]:
        servers = self._store.table(SERVERS)
        if request.provider_id:
            node = self._store.find(NODES, request.provider_id)
            found = servers.by("node", node.meta.name) if node is not None else []
        elif request.project_id:
            found = servers.by("project", request.project_id)
        else:
            found = list(servers)
        return (as_consumer(server) for server in found if server.node)

    def _others(self, request: pb.ListConsumersRequest) -> Iterable[pb.Consumer]:
        table = self._store.table(CONSUMERS)
        return table.by("provider", request.provider_id) if request.provider_id else table

    def _check_no_server(self, id_: str) -> None:
        if self._store.find(SERVERS, id_) is not None:
            raise FailedPrecondition(
                f"The consumer {id_} is a server: what it takes changes with the server itself.",
                reason="CONSUMER_IS_SERVER",
            )

    @again
    async def _write(
        self,
        changes: Sequence[pb.ConsumerChange],
        shapes: Sequence[pb.ProviderInventories],
        caller: Caller,
    ) -> list[pb.Consumer]:
        """All of it in one transaction."""
        _check_once("consumer", [change.consumer.meta.id for change in changes])
        _check_once("provider", [shape.provider_id for shape in shapes])
        for change in changes:
            _check_once("provider", [part.provider_id for part in change.consumer.allocations])
        ids = {part.provider_id for change in changes for part in change.consumer.allocations}
        kinds: tuple[Collection[Any], ...] = (NODES, PROVIDERS)
        keys = [kind.key(id_) for kind in kinds for id_ in ids if self._store.find(kind, id_) is not None]
        try:
            async with AsyncExitStack() as stack:
                for key in sorted(keys):  # one after the other, rather than again and again
                    await stack.enter_async_context(self._store.lock(key))
                async with self._store.transaction() as txn:
                    made = self._set(changes, shapes, caller, txn)
            return made
        except QuotaExceeded as error:
            raise Conflict(
                f"Unable to allocate inventory: {error.message}", reason="CAPACITY_EXCEEDED"
            ) from error

    def _set(
        self,
        changes: Sequence[pb.ConsumerChange],
        shapes: Sequence[pb.ProviderInventories],
        caller: Caller,
        txn: Transaction,
    ) -> list[pb.Consumer]:
        """What consumers had is given back before they take; a provider that is taken of has changed."""
        later: dict[str, ResourceProvider] = {}  # as they will be
        for shape in shapes:
            later[shape.provider_id] = self._shaped(shape)
        olds = [self._old(change) for change in changes]
        for old in olds:
            for part in old.allocations if old is not None else ():
                if (provider := self._later(later, part.provider_id)) is not None:
                    for name, amount in part.resources.items():
                        provider.used[name] -= amount
        changed = {shape.provider_id for shape in shapes}
        made = []
        for change, old in zip(changes, olds, strict=True):
            new = copy_of(change.consumer)
            for part in new.allocations:
                self._take(part, self._later(later, part.provider_id))
                changed.add(part.provider_id)
            if new.allocations:
                self._put(new, old, txn)
                made.append(new)
            elif old is not None:
                txn.remove(CONSUMERS, old)
        for id_ in sorted(changed):
            self._resources.change(caller, later[id_], self._resources.find(id_, caller), txn)
        return made

    def _shaped(self, shape: pb.ProviderInventories) -> ResourceProvider:
        found = self._providers.find(shape.provider_id)
        if found is None:
            raise InvalidArgument(
                f"Resource provider {shape.provider_id} does not exist.",
                reason="RESOURCE_PROVIDER_NOT_FOUND",
            )
        check_generation(found, shape.generation)
        shaped = copy_of(found)
        shaped.spec.ClearField("inventories")
        for name, inventory in shape.inventories.items():
            shaped.spec.inventories[name].CopyFrom(inventory)
        check_words(self._store, shaped.spec)
        return shaped

    def _later(self, later: dict[str, ResourceProvider], id_: str) -> ResourceProvider | None:
        if id_ not in later and (found := self._providers.find(id_)) is not None:
            later[id_] = copy_of(found)
        return later.get(id_)

    def _old(self, change: pb.ConsumerChange) -> pb.Consumer | None:
        """The consumer as it was. Raises Conflict if the caller has seen another."""
        self._check_no_server(change.consumer.meta.id)
        old = self._store.find(CONSUMERS, change.consumer.meta.id)
        present = old.meta.generation if old is not None else 0
        if change.HasField("generation") and change.generation != present:
            raise Conflict(
                f"consumer generation conflict - expected {present or 'null'} "
                f"but got {change.generation or 'null'}",
                reason="CONCURRENT_UPDATE",
            )
        return old

    def _put(self, new: pb.Consumer, old: pb.Consumer | None, txn: Transaction) -> None:
        if old is None:
            txn.create(CONSUMERS, new)
            return
        new.type = new.type or old.type
        new.meta.generation, new.meta.etag = old.meta.generation + 1, old.meta.etag
        new.meta.create_time.CopyFrom(old.meta.create_time)
        txn.update(CONSUMERS, new)

    def _take(self, part: pb.Allocation, provider: ResourceProvider | None) -> None:
        """The provider is there, has the classes and enough of them; those who come between the transaction refuses."""
        if provider is None:
            raise InvalidArgument(
                f"Allocation for resource provider '{part.provider_id}' that does not exist.",
                field="allocations",
            )
        part.account = account(provider)
        for name, amount in part.resources.items():
            if not is_class(self._store, name):
                raise InvalidArgument(f"No such resource class {name}.", field="resources")
            if fault := shortfall(provider, name, amount):
                raise Conflict(
                    f"Unable to allocate inventory: Unable to create allocation for '{name}' on resource "
                    f"provider '{provider.meta.id}': {fault}.",
                    reason="CAPACITY_EXCEEDED",
                )
            provider.used[name] += amount


def _check_once(noun: str, ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        raise InvalidArgument(f"A {noun} is named twice.", field=f"{noun}s")
