"""Networking API v2.0: how it words lists and errors."""

from typing import ClassVar, NoReturn

import grpc

from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.dialect import Dialect, Listing
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request
from gateway.core.table import Table

Op = query_pb2.Filter.Op
_TAG_FILTERS: dict[str, Op.ValueType] = {
    "tags": query_pb2.Filter.OP_ALL,
    "tags-any": query_pb2.Filter.OP_IN,
    "not-tags": query_pb2.Filter.OP_NOT_ALL,
    "not-tags-any": query_pb2.Filter.OP_NOT_IN,
}
_TYPES = {"INVALID_ARGUMENT": "InvalidInput", "QUOTA_EXCEEDED": "OverQuota", "CONFLICT": "Conflict"}


class NetworkDialect(Dialect):
    """Pages go both ways, tags are filtered by sets, errors are NeutronError."""

    statuses: ClassVar[Statuses] = {grpc.StatusCode.RESOURCE_EXHAUSTED: 409}

    def unknown_attributes(self, table: Table, names: list[str], operation: str) -> NoReturn:
        shown = ", ".join(name[:64] for name in names)
        raise Invalid(f"Unrecognized attribute(s) '{shown}'", field=names[0][:64], reason="HTTP_BAD_REQUEST")

    def not_writable(self, table: Table, name: str, operation: str) -> None:
        if operation == "create":
            raise Invalid(f"Attribute '{name}' not allowed in POST", field=name, reason="HTTP_BAD_REQUEST")
        raise Invalid(f"Cannot update read-only attribute {name}", field=name, reason="HTTP_BAD_REQUEST")

    def condition(
        self, request: Request, table: Table, listing: Listing, name: str, values: list[str]
    ) -> None:
        if name == "page_reverse":
            listing.query.backwards = values[-1].lower() in ("true", "1")
        elif name in _TAG_FILTERS:
            tags = [tag for value in values for tag in value.split(",")]
            listing.query.filters.add(path="meta.tags", op=_TAG_FILTERS[name], values=tags)
        else:
            super().condition(request, table, listing, name, values)

    def unknown_filter(self, table: Table, name: str, values: list[str]) -> None:
        raise Invalid(
            f"Invalid input for operation: '{name[:64]}' is not a valid filter of {table.plural}.",
            field=name[:64],
        )

    def fault_body(self, request: Request, fault: Fault) -> JsonValue:
        kind = _TYPES.get(fault.reason, fault.type)
        return {"NeutronError": {"type": kind, "message": fault.message, "detail": ""}}
