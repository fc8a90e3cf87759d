"""The methods of VocabularyService: standard and custom names of traits and resource classes."""

import re
from typing import Any, ClassVar

from fabric.compute.collection import CLASSES, TRAITS
from fabric.compute.demand import DISK_GB, MEMORY_MB, VCPU
from fabric.compute.node import NODES
from fabric.compute.provider import PROVIDERS
from fabric.compute.trait import STANDARD, traits
from fabric.compute.v1 import vocabulary_pb2 as pb
from fabric.runtime import query
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

Word = Any  # a trait or a resource class

STANDARD_CLASSES = (
    "VCPU", "MEMORY_MB", "DISK_GB", "PCI_DEVICE", "SRIOV_NET_VF", "NUMA_SOCKET", "NUMA_CORE", "NUMA_THREAD",
    "NUMA_MEMORY_MB", "IPV4_ADDRESS", "VGPU", "VGPU_DISPLAY_HEAD", "NET_BW_EGR_KILOBIT_PER_SEC",
    "NET_BW_IGR_KILOBIT_PER_SEC", "PCPU", "MEM_ENCRYPTION_CONTEXT", "FPGA", "PGPU",
    "NET_PACKET_RATE_KILOPACKET_PER_SEC", "NET_PACKET_RATE_EGR_KILOPACKET_PER_SEC",
    "NET_PACKET_RATE_IGR_KILOPACKET_PER_SEC",
)  # fmt: skip
_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]{1,248}")


def is_class(store: Store, name: str) -> bool:
    """Whether a resource class of the name is known."""
    return name in STANDARD_CLASSES or store.find(CLASSES, name) is not None


def is_trait(store: Store, name: str) -> bool:
    """Whether a trait of the name is known."""
    return name in STANDARD or store.find(TRAITS, name) is not None


class _Words(Resource[Word]):
    """Standard names are always there; custom ones are records, whose id is the name."""

    hidden = False
    kind: ClassVar[Any]
    standard: ClassVar[frozenset[str]]

    def used(self) -> frozenset[str]:
        """The names that some provider has."""
        raise NotImplementedError

    def own(self, caller: Caller, new: Word) -> None:
        """It is nobody's."""

    def visible(self, caller: Caller, message: Word) -> bool:
        """To whoever may see any."""
        return self.policy.allows(caller, self.policies["get"], {})

    def candidates(self, caller: Caller, asked: Query) -> list[Word]:
        """All, in the order of their names."""
        custom = list(self.store.table(self.collection))
        if not asked.sorts:
            asked.sorts.add(path="meta.id")
        return [*map(self._standard, self.standard), *custom]

    def present(self, caller: Caller, message: Word) -> Word:
        """With whether it is used."""
        return _told(message, self.used())

    async def list(self, asked: Query, caller: Caller) -> tuple[list[Word], str]:
        """As every resource, but what is used is looked up once."""
        self.enforce_list(caller)
        used = self.used()
        known = [_told(message, used) for message in self.candidates(caller, asked)]
        return query.select(known, asked, self.kind)

    def find(self, id_: str, caller: Caller) -> Word:
        """Also a standard one."""
        if id_ in self.standard:
            self.policy.enforce(caller, self.policies["get"], {})
            return self._standard(id_)
        return super().find(id_, caller)

    def accept(self, caller: Caller, new: Word, old: Word | None, txn: Transaction) -> None:
        """A custom name that is well formed."""
        if new.meta.id in self.standard:
            raise AlreadyExists(f"{new.meta.id} is a standard name.", index="id", value=new.meta.id)
        if not _CUSTOM.fullmatch(new.meta.id):
            raise InvalidArgument(f"{new.meta.id[:80]!r} does not match '^CUSTOM_[A-Z0-9_]+$'.", field="name")

    def check_delete(self, caller: Caller, old: Word, txn: Transaction) -> None:
        """A custom one that nothing has."""
        if old.meta.id in self.standard:
            raise InvalidArgument(
                f"Cannot delete standard {self.collection.noun} {old.meta.id}.", field="name"
            )
        if old.meta.id in self.used():
            raise FailedPrecondition(
                f"The {self.collection.noun} {old.meta.id} is in use by a resource provider.",
                reason="NAME_IN_USE",
            )

    def _standard(self, name: str) -> Word:
        made = self.kind()
        made.meta.id = name
        return made


class Traits(_Words):
    """What providers can do."""

    collection = TRAITS
    kind = pb.Trait
    standard = STANDARD
    policies = {
        "create": "placement:traits:update",
        "get": "placement:traits:show",
        "list": "placement:traits:list",
        "delete": "placement:traits:delete",
    }

    def used(self) -> frozenset[str]:
        """Of nodes and of other providers."""
        found = set[str]().union(*(provider.spec.traits for provider in self.store.table(PROVIDERS)))
        return frozenset(found.union(*map(traits, self.store.table(NODES))))


class ResourceClasses(_Words):
    """What providers have amounts of."""

    collection = CLASSES
    kind = pb.ResourceClass
    standard = frozenset(STANDARD_CLASSES)
    policies = {
        "create": "placement:resource_classes:create",
        "get": "placement:resource_classes:show",
        "list": "placement:resource_classes:list",
        "delete": "placement:resource_classes:delete",
    }

    async def RenameResourceClass(
        self, request: pb.RenameResourceClassRequest, caller: Caller
    ) -> pb.ResourceClass:
        self.policy.enforce(caller, "placement:resource_classes:update", {})
        old = self.find(request.id, caller)
        new = pb.ResourceClass()
        new.meta.id = request.name
        async with self.store.transaction() as txn:
            self.check_delete(caller, old, txn)
            self.accept(caller, new, None, txn)
            txn.remove(CLASSES, old)
            txn.create(CLASSES, new)
        return new

    def used(self) -> frozenset[str]:
        """Of nodes and of other providers."""
        found = {VCPU, MEMORY_MB, DISK_GB}.union(*(n.spec.inventories for n in self.store.table(NODES)))
        return frozenset(found.union(*(p.spec.inventories for p in self.store.table(PROVIDERS))))


def _told(message: Word, used: frozenset[str]) -> Word:
    told = copy_of(message)
    told.used = message.meta.id in used
    return told
