"""Messages as etcd holds them: protobuf JSON with proto field names, secrets encrypted."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from fabric.runtime.json_form import from_dict, to_dict
from fabric.type.v1 import meta_pb2

M = TypeVar("M", bound=Message)

SEALED = "sealed:"
_MOST_ALIKE = 256


def master_keys(path: str | Path) -> list[bytes]:
    """The Fernet keys of the master key file, one a line, the one to seal with first."""
    return Path(path).read_bytes().split()


class Codec:
    """Turns messages into etcd values and back.

    Without keys (an agent), secret fields come out as they rest: sealed.
    """

    def __init__(self, keys: list[bytes] | None = None) -> None:
        """keys: Fernet keys, the first encrypts, all decrypt (so that keys can be rotated)."""
        self._fernet = MultiFernet([Fernet(key) for key in keys]) if keys else None
        self._alike: dict[tuple[type[Message], bytes], Message] = {}

    def encode(self, message: Message) -> bytes:
        """The value for etcd. Raises ValueError when a secret is to be sealed and there is no key."""
        if _has_secrets(message.DESCRIPTOR):
            sealed = type(message)()
            sealed.CopyFrom(message)
            _each_secret(sealed, self._seal)
            message = sealed
        return orjson.dumps(to_dict(message))

    def decode(self, kind: type[M], value: bytes) -> M:
        """The message of a value; fields of a newer release stay with it, as they rest."""
        message = from_dict(orjson.loads(value), kind)
        if _has_secrets(kind.DESCRIPTOR):
            _each_secret(message, self._unseal)
        return message

    def decode_alike(self, kind: type[M], value: bytes) -> M:
        """As decode, of what several keys have in common: they share the message, too."""
        found = self._alike.get((kind, value))
        if found is None:
            if len(self._alike) >= _MOST_ALIKE:
                del self._alike[next(iter(self._alike))]
            found = self._alike[kind, value] = self.decode(kind, value)
        return cast(M, found)

    def _seal(self, text: str) -> str:
        if text.startswith(SEALED):
            return text
        if self._fernet is None:
            raise ValueError("a secret cannot be sealed without the master key")
        return SEALED + self._fernet.encrypt(text.encode()).decode()

    def _unseal(self, text: str) -> str:
        if self._fernet is None or not text.startswith(SEALED):
            return text
        try:
            return self._fernet.decrypt(text[len(SEALED) :].encode()).decode()
        except InvalidToken as error:
            raise ValueError("a secret was sealed with a master key that is not here") from error


@functools.cache
def _secret_fields(descriptor: Descriptor) -> tuple[FieldDescriptor, ...]:
    return tuple(f for f in descriptor.fields if f.GetOptions().Extensions[meta_pb2.secret])


@functools.cache
def _has_secrets(descriptor: Descriptor) -> bool:
    return _holds_secrets(descriptor, set())


def _holds_secrets(descriptor: Descriptor, met: set[str]) -> bool:
    if descriptor.full_name in met:
        return False
    met.add(descriptor.full_name)
    if _secret_fields(descriptor):
        return True
    return any(f.message_type and _holds_secrets(f.message_type, met) for f in descriptor.fields)


def _each_secret(message: Message, change: Callable[[str], str]) -> None:
    for field in _secret_fields(message.DESCRIPTOR):
        if value := getattr(message, field.name):
            setattr(message, field.name, change(value))
    for field, value in message.ListFields():
        if field.message_type is None or not _has_secrets(field.message_type):
            continue
        for part in _messages(field, value):
            _each_secret(part, change)


def _messages(field: FieldDescriptor, value: Any) -> list[Message]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        entry = kind.fields_by_name["value"]
        return list(value.values()) if entry.message_type else []
    return list(value) if field.is_repeated else [value]
