"""Whether records, claims, charges, wants and reports agree. No I/O: for `fabricctl sweep` and for tests."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from google.protobuf.message import Message

from fabric.runtime.store import ROOT, Collection, Record, Store

_BY = re.compile(rf"{ROOT}/([^/]+)/by/([^/]+)/(.+)")
_NODE = re.compile(rf"{ROOT}/([^/]+)/node/([^/]+)/(want|seen)/([^/]+)")


def disagreements(store: Store) -> Iterator[str]:
    """One line for each thing that has no owner, or that its owner says it has and does not."""
    yield from _claims(store)
    yield from _charges(store)
    yield from _nodes(store)


def _claims(store: Store) -> Iterator[str]:
    due: dict[str, str] = {}  # key -> the id of the record that says so
    for collection in store.collections:
        for record in store.table(collection):
            for index, value in dict.fromkeys(collection.claims(record)):
                due[collection.claim_key(index, value)] = record.meta.id
                owner = store.owner(collection, index, value)
                if owner != record.meta.id:
                    name = _name(collection, record)
                    yield f"{name} does not hold its claim {index} {value} (owner: {owner or 'nobody'})"
    for parent in store.cache.parents():
        if not (match := _BY.fullmatch(parent)):
            continue
        claimed = store.collection(match[1], match[2])
        table = store.cache.table(parent)
        for value in table.ids():
            owner = str(table.get(value))
            if claimed is None or store.find(claimed, owner) is None:
                yield f"claim {parent}/{value} belongs to {owner}, which does not exist"
            elif f"{parent}/{value}" not in due:
                yield f"claim {parent}/{value} belongs to {owner}, which does not ask for it"


def _charges(store: Store) -> Iterator[str]:
    counted: Counter[tuple[str, str]] = Counter()
    for collection in store.collections:
        for record in store.table(collection):
            for resource, amount in collection.charges(record).items():
                owner = record.meta.project_id or "-"
                at = resource if isinstance(resource, tuple) else (owner, resource)
                counted[at] += amount
    known = set(counted)
    for parent in store.cache.parents():
        if parent.startswith(f"{ROOT}/quota/"):
            known.update(
                (parent.rpartition("/")[2], resource) for resource in store.cache.table(parent).ids()
            )
    for owner, resource in sorted(known):
        usage = store.quota(owner, resource).usage
        if usage != counted[owner, resource]:
            yield f"quota of {owner} says {usage} {resource}, there are {counted[owner, resource]}"


def _nodes(store: Store) -> Iterator[str]:
    for parent in store.cache.parents():
        if not (match := _NODE.fullmatch(parent)):
            continue
        service, node, part, name = match.groups()
        collection = store.collection(service, name)
        ids = store.cache.table(parent).ids()
        if collection is not None and _has_records(collection):
            for id_ in ids:
                if store.table(collection).get(id_) is None:
                    yield f"{part} of {node} for {service}/{name}/{unquote(id_)} has no record"
        if part == "seen":
            wants = store.cache.table(parent.replace("/seen/", "/want/"))
            for id_ in ids:
                if wants.get(id_) is None:
                    yield f"{node} reports {service}/{name}/{unquote(id_)}, which is not wanted there"


def _has_records(collection: Collection[Any]) -> bool:
    """Whether it has; some exist only as what is wanted of nodes."""
    return "meta" in collection.message.DESCRIPTOR.fields_by_name


def _name(collection: Collection[Record], record: Record) -> str:
    return f"{collection.noun} {record.meta.id}"


def waiting(store: Store) -> Iterator[tuple[str, Message]]:
    """Records that are marked for removal and still here, with their collection's noun."""
    for collection in store.collections:
        for record in store.table(collection):
            if record.meta.HasField("delete_time"):
                yield collection.noun, record
