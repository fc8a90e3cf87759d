"""Instants."""

from datetime import UTC, datetime
from functools import lru_cache

from google.protobuf.timestamp_pb2 import Timestamp as TimestampMessage

from gateway.core.codec.base import JsonValue, Scalar, shown
from gateway.core.fault import Invalid

_FORMATS = {"iso_z": "Z", "neutron": "Z", "micro": ".%06dZ", "nova": ".%06d"}


class Timestamp(Scalar):
    """iso_z and neutron: 2026-01-01T00:00:00Z; micro: ...00.000000Z; nova: ...00.000000. Unset is null."""

    def __init__(self, fmt: str = "iso_z", *, nullable: bool = True) -> None:
        super().__init__(nullable=nullable)
        self._tail = _FORMATS[fmt]
        self._fraction = "%" in self._tail

    def _facets(self) -> dict[str, JsonValue]:
        return {"format": "date-time"}

    def to_json(self, value: TimestampMessage) -> JsonValue:
        seconds, nanos = value.seconds, value.nanos
        if not seconds and not nanos:
            return None
        return _date(seconds) + (self._tail % (nanos // 1000) if self._fraction else self._tail)

    def from_json(self, value: JsonValue, field: str) -> TimestampMessage:
        message = TimestampMessage()
        try:
            instant = datetime.fromisoformat(value.strip())
            message.FromDatetime(instant.astimezone(UTC) if instant.tzinfo else instant)
        except (ValueError, OverflowError, AttributeError) as error:
            raise Invalid(f"'{field}' must be an ISO 8601 time, not {shown(value)}.", field=field) from error
        return message

    def filter_value(self, text: str, field: str) -> str:
        # "+" of an offset, unescaped
        return str(self.from_json(text.replace(" ", "+"), field).ToJsonString())


@lru_cache(maxsize=8192)
def _date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
