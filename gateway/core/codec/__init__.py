"""How one attribute's JSON value becomes a protobuf value and back."""

from gateway.core.codec.address import Cidr, IpAddress, MacAddress, Uuid
from gateway.core.codec.base import Codec, JsonValue, Scalar
from gateway.core.codec.container import Json, List, Map, to_value
from gateway.core.codec.scalar import Base64, Bool, GiB, Integer, Number, Scaled, Text
from gateway.core.codec.time import Timestamp
from gateway.core.codec.word import Enum

__all__ = [
    "Base64", "Bool", "Cidr", "Codec", "Enum", "GiB", "Integer", "IpAddress", "Json", "JsonValue", "List",
    "MacAddress", "Map", "Number", "Scalar", "Scaled", "Text", "Timestamp", "Uuid", "to_value",
]  # fmt: skip
