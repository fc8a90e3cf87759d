"""Collections: where the resources of one kind rest in etcd, and what each of them holds."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, cast
from urllib.parse import quote

from google.protobuf.message import Message

from fabric.runtime.cache import Index
from fabric.type.v1 import meta_pb2

ROOT = "/fabric"
_SAFE = " !#$&'()*+,:;=@[]"  # stays readable in a key; "/" and "%" do not


_PLAIN = re.compile(r"[A-Za-z0-9_.~-]*")


def quoted(text: str) -> str:
    """The text as one segment of a key."""
    return text if _PLAIN.fullmatch(text) else quote(text, safe=_SAFE)


class Copyable(Protocol):
    """Any message."""

    def CopyFrom(self, other: Any, /) -> None: ...


class Record(Copyable, Protocol):
    """A message that has a meta: what rests in a collection."""

    @property
    def meta(self) -> meta_pb2.Meta: ...

    def ClearField(self, field_name: Any, /) -> None: ...


M = TypeVar("M", bound=Record)
C = TypeVar("C", bound="Copyable")


def nothing(_: Any) -> tuple[()]:
    """Of no index, claim or charge."""
    return ()


@dataclass(frozen=True, eq=False)
class Collection(Generic[M]):
    """Where the resources of one kind rest and what each of them holds.

    The derived keys are kept in the transaction that writes the resource. Claims are unique within the
    collection: (index, value) pairs. Charges count against the quota of meta.project_id or, named
    (owner, resource), against that owner's limit, such as a node's capacity. node names the node whose
    report is joined, and which is given the resource itself if that is wanted; so are the nodes of also.
    """

    service: str
    name: str  # plural, snake_case
    message: type[M]
    singular: str = ""  # for people; made of the message's name when empty
    claims: Callable[[M], Iterable[tuple[str, str]]] = nothing
    charges: Callable[[M], Mapping[str | tuple[str, str], int]] = lambda _: {}
    indexes: Mapping[str, Index[M]] = field(default_factory=dict)
    node: Callable[[M], str] = lambda _: ""  # whose report is joined as status; "" none
    also: Callable[[M], Iterable[str]] = (
        nothing  # further nodes that are given it, and whose reports are not joined
    )
    place: Callable[[M, str, str], None] | None = None  # puts a copy on a node, and tells the one it comes to
    wanted: bool = False  # the resource itself is the node's want
    want: type[Message] | None = None  # what is wanted of a node instead, written with Transaction.want
    status: type[Message] | None = None  # what the node's agent reports
    output_only: Sequence[str] = ()  # fields that never rest in the record
    derive: Callable[[M], None] | None = None  # fills output-only fields of a cached message from the others

    @property
    def parent(self) -> str:
        """The path above the records."""
        return f"{ROOT}/{self.service}/{self.name}"

    @cached_property
    def noun(self) -> str:
        """What to call one of them in a message."""
        return (
            self.singular
            or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", cast(type[Message], self.message).DESCRIPTOR.name).lower()
        )

    def strip(self, message: M) -> None:
        """Leave only what rests in the record."""
        message.meta.etag = ""
        if self.status is not None:
            message.ClearField("status")
        for name in self.output_only:
            message.ClearField(name)

    def nodes(self, message: M) -> set[str]:
        """All the nodes that hold something of it."""
        return {self.node(message), *self.also(message)} - {""}

    def key(self, id_: str) -> str:
        """The record's key."""
        return f"{self.parent}/{quoted(id_)}"

    def claim_parent(self, index: str) -> str:
        """The path above the claims of an index."""
        return f"{ROOT}/{self.service}/by/{self.name}/{index}"

    def claim_key(self, index: str, value: str) -> str:
        """The key whose existence is the claim."""
        return f"{self.claim_parent(index)}/{quoted(value)}"

    def want_key(self, node: str, id_: str) -> str:
        """What the node must make true."""
        return f"{ROOT}/{self.service}/node/{node}/want/{self.name}/{quoted(id_)}"

    def seen_key(self, node: str, id_: str) -> str:
        """What the node's agent reports."""
        return f"{ROOT}/{self.service}/node/{node}/seen/{self.name}/{quoted(id_)}"


def copy_of(message: C) -> C:
    """A copy that may be changed."""
    copy = type(message)()
    copy.CopyFrom(message)
    return copy


def differs(collection: Collection[M], old: M, new: M) -> bool:
    """Whether anything but meta's bookkeeping changed."""
    first, second = copy_of(old), copy_of(new)
    for message in (first, second):
        collection.strip(message)
        for name in ("update_time", "generation", "request_id"):
            message.meta.ClearField(name)
    return bool(first != second)
