"""The methods of ConsumerService: who takes what of which provider, and who could."""

from collections.abc import Iterable, Iterator

from fabric.compute.consumer import CONSUMERS, as_consumer
from fabric.compute.node import NODES
from fabric.compute.provider import account, candidates, shortfall, trees
from fabric.compute.providers import Providers, check_need
from fabric.compute.server import SERVERS
from fabric.compute.v1 import consumer_pb2 as pb
from fabric.compute.v1 import resource_provider_pb2
from fabric.compute.vocabulary import is_class
from fabric.runtime.caller import Caller
from fabric.runtime.config import Compute
from fabric.runtime.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    QuotaExceeded,
    StaleRevision,
)
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

_TRIES = 8
_MOST_CANDIDATES = 1000


class Consumers:
    """Servers are consumers too; what they take only the scheduler changes."""

    def __init__(self, store: Store, policy: Policy, settings: Compute) -> None:
        self._store = store
        self._policy = policy
        self._providers = Providers(store, settings)

    async def GetConsumer(self, request: pb.GetConsumerRequest, caller: Caller) -> pb.Consumer:
        self._policy.enforce(caller, "placement:allocations:list", {})
        server = self._store.find(SERVERS, request.id)
        if server is not None and server.node:
            return as_consumer(server)
        return self._find(request.id)

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
        ids = [change.consumer.meta.id for change in request.changes]
        if len(set(ids)) < len(ids):
            raise InvalidArgument("A consumer is named twice.", field="consumers")
        for attempt in range(_TRIES):
            made = []
            try:
                async with self._store.transaction() as txn:
                    for change in request.changes:
                        made += self._set(change, txn)
            except QuotaExceeded as error:
                raise Conflict(
                    f"Unable to allocate inventory: {error.message}", reason="CAPACITY_EXCEEDED"
                ) from error
            except StaleRevision:
                if attempt + 1 == _TRIES:
                    raise
                continue
            return pb.SetConsumersResponse(consumers=made)
        raise AssertionError

    async def DeleteConsumer(
        self, request: pb.DeleteConsumerRequest, caller: Caller
    ) -> pb.DeleteConsumerResponse:
        self._policy.enforce(caller, "placement:allocations:delete", {})
        self._check_no_server(request.id)
        for attempt in range(_TRIES):
            try:
                async with self._store.transaction() as txn:
                    txn.remove(CONSUMERS, self._find(request.id))
                break
            except StaleRevision:
                if attempt + 1 == _TRIES:
                    raise
        return pb.DeleteConsumerResponse()

    async def ListAllocationCandidates(
        self, request: pb.ListAllocationCandidatesRequest, caller: Caller
    ) -> pb.ListAllocationCandidatesResponse:
        self._policy.enforce(caller, "placement:allocation_candidates:list", {})
        for need in request.needs:
            check_need(self._store, need)
        most = min(request.limit or _MOST_CANDIDATES, _MOST_CANDIDATES)
        reply = pb.ListAllocationCandidatesResponse()
        for tree in trees(self._providers.all()).values():
            ids = {provider.meta.id for provider in tree}
            if any(need.in_tree and need.in_tree not in ids for need in request.needs):
                continue
            before = len(reply.candidates)
            for candidate in candidates(tree, request.needs, isolate=request.isolate):
                if len(reply.candidates) == most:
                    break
                reply.candidates.append(candidate)
            if len(reply.candidates) > before:
                reply.providers.extend(tree)
        return reply

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

    def _set(self, change: pb.ConsumerChange, txn: Transaction) -> list[pb.Consumer]:
        new = copy_of(change.consumer)
        self._check_no_server(new.meta.id)
        old = self._store.find(CONSUMERS, new.meta.id)
        present = old.meta.generation if old is not None else 0
        if change.HasField("generation") and change.generation != present:
            raise Conflict(
                f"consumer generation conflict - expected {present or None} but got {change.generation or None}",
                reason="CONCURRENT_UPDATE",
            )
        if not new.allocations:
            if old is not None:
                txn.remove(CONSUMERS, old)
            return []
        for part in new.allocations:
            self._check(part, old, txn)
        new.type = new.type or (old.type if old is not None else "")
        if old is None:
            txn.create(CONSUMERS, new)
        else:
            new.meta.generation, new.meta.etag = old.meta.generation, old.meta.etag
            new.meta.create_time.CopyFrom(old.meta.create_time)
            txn.update(CONSUMERS, new)
        return [new]

    def _check(self, part: pb.Allocation, old: pb.Consumer | None, txn: Transaction) -> None:
        """The provider is there and has the classes; how much is left the transaction decides."""
        provider = self._providers.find(part.provider_id)
        if provider is None:
            raise InvalidArgument(
                f"Allocation for resource provider '{part.provider_id}' that does not exist.",
                field="allocations",
            )
        self._providers.expect(txn, provider)
        part.account = account(provider)
        held = _held(old, part.provider_id)
        free = resource_provider_pb2.ResourceProvider()
        free.CopyFrom(provider)
        for name, amount in part.resources.items():
            if not is_class(self._store, name):
                raise InvalidArgument(f"No such resource class {name}.", field="resources")
            free.used[name] = provider.used.get(name, 0) - held.get(name, 0)
            if fault := shortfall(free, name, amount):
                raise Conflict(
                    f"Unable to allocate inventory: Unable to create allocation for '{name}' on resource "
                    f"provider '{provider.meta.id}': {fault}.",
                    reason="CAPACITY_EXCEEDED",
                )


def _held(consumer: pb.Consumer | None, provider_id: str) -> dict[str, int]:
    parts = consumer.allocations if consumer is not None else ()
    return {n: amount for p in parts if p.provider_id == provider_id for n, amount in p.resources.items()}
