"""What a newer release has written into a record and this one does not know: kept with its message, and written back.

It rests there as an unknown field, which goes where the message is copied to.
"""

from typing import Any, TypeVar

import orjson
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from fabric.type.v1.newer_pb2 import Newer

M = TypeVar("M", bound=Message)

KINDS: set[str] = set()  # full names of messages that had any; empty while all machines have one release


def keep(message: Message, fields: dict[str, Any]) -> None:
    """Keep these fields, as they rest, with the message."""
    KINDS.add(message.DESCRIPTOR.full_name)
    message.MergeFromString(Newer(json=orjson.dumps(fields)).SerializeToString())


def kept(message: Message) -> dict[str, Any]:
    """What is kept with the message itself, not with those in it."""
    found: dict[str, Any] = {}
    unknown: Any = UnknownFieldSet(message)
    for field in unknown:
        if field.field_number == Newer.JSON_FIELD_NUMBER:
            found |= orjson.loads(field.data)
    return found


def drop(message: M) -> M:
    """The message, without it: only a newer release knows what of it others may see, or may set."""
    message.DiscardUnknownFields()
    return message
