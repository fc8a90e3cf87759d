"""What keeps a record from being as it was asked to be, in one sentence. No I/O."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from fabric.runtime.store import Collection


@dataclass(frozen=True)
class Sight:
    """All that is known of a record; a service's agents are of the kind that is called as the service."""

    collection: Collection[Any]
    record: Any
    node: str = ""  # where it is, or should be
    want: Any | None = None  # what the node was told
    seen: Message | None = None  # what the node said last
    alive: frozenset[str] = frozenset()  # kinds of the node's agents
    led: bool = True  # whether a controller runs the loops


def stands(record: Any) -> str:
    """The word for how it stands; empty: there is none."""
    fields = record.DESCRIPTOR.fields_by_name
    if "view" in fields:
        view = record.view
        status = view.status
        if not isinstance(status, str):
            kind = view.DESCRIPTOR.fields_by_name["status"].enum_type
            status = _short(kind.values_by_number[status].name)
        task = getattr(view, "task_state", "")
        return f"{status} ({task})" if task else str(status)
    if "state" in fields:
        return state(record)
    return state(record.status) if _has_state(record) else ""


def state(status: Any) -> str:
    """The state in a status, or in a record that is work, as a word."""
    kind = status.DESCRIPTOR.fields_by_name["state"].enum_type
    return _short(kind.values_by_number[status.state].name) if status.state else "nothing yet"


def trouble(sight: Sight) -> str:
    """The cause; empty: all is as it should be."""
    return _failure(sight) or _absence(sight) or _wait(sight)


def _failure(sight: Sight) -> str:
    record = sight.record
    fields = record.DESCRIPTOR.fields_by_name
    if "fault" in fields and record.HasField("fault"):
        return str(record.fault.message)
    if "state" in fields and "message" in fields and record.message:
        return str(record.message)
    if _has_state(record) and state(record.status) == "ERROR":
        return f"node {sight.node}: {_words(record.status) or 'it failed and does not say why'}"
    return ""


def _absence(sight: Sight) -> str:
    """Who should act, and is not there."""
    service = sight.collection.service
    if sight.node and sight.collection.status is not None and service not in sight.alive:
        return f"the {service} agent of node {sight.node} is down"
    if not sight.led and (_is_on_its_way(sight) or not sight.node):
        return "no controller runs the loops" if _acts_by_loop(sight) else ""
    return ""


def _wait(sight: Sight) -> str:
    record, node = sight.record, sight.node
    if waiting := getattr(record, "waiting", ""):
        return f"it waits: {waiting}"
    if record.meta.HasField("delete_time"):
        holders = ", ".join(record.meta.finalizers)
        held = f"node {node} has not let go of it yet" if node else f"still held by {holders or 'nobody'}"
        return f"it is being removed; {held}{_why(sight)}"
    if move := _move(record):
        return move
    if not node and stands(record) == "SHELVED_OFFLOADED":
        return ""
    if not node:
        return "it is not placed yet" if sight.collection.want is not None and _acts_by_loop(sight) else ""
    if sight.collection.status is None:
        return ""
    if sight.want is None:
        return f"node {node} has not been told of it yet"
    if sight.seen is None:
        return f"node {node} has not reported on it yet"
    if _is_on_its_way(sight):
        return f"node {node} is at work on it{_why(sight)}"
    return _words(sight.seen)


def _move(record: Any) -> str:
    """Of a server that migrates."""
    if "move" not in record.DESCRIPTOR.fields_by_name or not record.move.migration_id:
        return ""
    move = record.move
    phase = move.DESCRIPTOR.fields_by_name["phase"].enum_type.values_by_number[move.phase].name
    said = f": {move.message}" if move.message else ""
    target = move.target or "a node that is not chosen yet"
    return f"it migrates from {move.source} to {target}, {phase.removeprefix('MIGRATION_STATE_')}{said}"


def _is_on_its_way(sight: Sight) -> bool:
    generation = getattr(sight.seen, "observed_generation", 0) if sight.seen is not None else 0
    return bool(sight.node) and int(generation) < int(sight.record.meta.generation)


def _acts_by_loop(sight: Sight) -> bool:
    """Whether the record is one that a controller places."""
    return "node" in sight.record.DESCRIPTOR.fields_by_name and sight.collection.service == "compute"


def _why(sight: Sight) -> str:
    words = _words(sight.seen) if sight.seen is not None else ""
    return f": {words}" if words else ""


def _words(status: Any) -> str:
    reason, message = getattr(status, "reason", ""), getattr(status, "message", "")
    return ": ".join(part for part in (reason, message) if part)


def _has_state(record: Any) -> bool:
    return "status" in record.DESCRIPTOR.fields_by_name and "state" in record.status.DESCRIPTOR.fields_by_name


def _short(name: str) -> str:
    return name.rpartition("STATE_")[2].removeprefix("STATUS_")
