"""Identity API v3: how it words bodies, lists and errors."""

from datetime import datetime
from typing import ClassVar, NoReturn

import grpc

from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue, Text
from gateway.core.dialect import Dialect, Listing
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request, Response
from gateway.core.table import Table

Code = grpc.StatusCode
Filter = query_pb2.Filter
_INEXACT = {  # name__contains and the like: the operator, how the value is quoted for a regular expression
    "equals": Filter.OP_IN,
    "iequals": Filter.OP_ICONTAINS,
    "contains": Filter.OP_CONTAINS,
    "icontains": Filter.OP_ICONTAINS,
    "startswith": Filter.OP_PREFIX,
    "istartswith": Filter.OP_ICONTAINS,
    "endswith": Filter.OP_SUFFIX,
    "iendswith": Filter.OP_ICONTAINS,
}
_ORDERS: dict[str, "query_pb2.Filter.Op.ValueType"] = {
    "lt": Filter.OP_LT,
    "lte": Filter.OP_LE,
    "gt": Filter.OP_GT,
    "gte": Filter.OP_GE,
    "eq": Filter.OP_IN,
    "neq": Filter.OP_NOT_IN,
}
_TAGS = {
    "tags": Filter.OP_ALL,
    "tags-any": Filter.OP_IN,
    "not-tags": Filter.OP_NOT_ALL,
    "not-tags-any": Filter.OP_NOT_IN,
}


def expiry(value: str) -> list[Filter]:
    """What password_expires_at=operator:time lets through; nobody whose password never expires."""
    operator, _, time = value.partition(":")
    if operator not in _ORDERS:
        operator, time = "eq", value
    try:
        datetime.strptime(time, "%Y-%m-%dT%H:%M:%SZ")
    except ValueError as error:
        raise Invalid(
            f"Invalid timestamp {time[:64]!r}: password_expires_at is an operator and YYYY-MM-DDTHH:MM:SSZ.",
            field="password_expires_at",
        ) from error
    path = "password_expires_time"
    return [
        Filter(path=path, op=Filter.OP_GT, values=["1970-01-01T00:00:00Z"]),
        Filter(path=path, op=_ORDERS[operator], values=[time]),
    ]


class Blank(Text):
    """Text that may be given as null and is then empty in answers."""

    def __init__(self, max: int = 65535) -> None:
        super().__init__(max, nullable=True)
        self.plain = True

    def to_json(self, value: str) -> JsonValue:
        return value


class IdentityDialect(Dialect):
    """Lists have links; attributes without a field are kept; errors are {"error": {code, title, message}}."""

    statuses: ClassVar[Statuses] = {
        Code.FAILED_PRECONDITION: 409,
        Code.RESOURCE_EXHAUSTED: 403,
        Code.UNIMPLEMENTED: 501,
    }
    max_limit = 10_000

    def unwrap(self, table: Table, body: JsonValue, request: Request) -> dict[str, JsonValue]:
        inner = super().unwrap(table, body, request)
        if request.method == "PATCH" and "id" in inner and inner["id"] not in request.params.values():
            raise Invalid(f"Cannot change {table.singular} ID", field="id")
        return inner

    def unknown_attributes(self, table: Table, names: list[str], operation: str) -> NoReturn:
        shown = ", ".join(f"'{name[:64]}'" for name in names)
        verb = "was" if len(names) == 1 else "were"
        raise Invalid(
            f"Additional properties are not allowed ({shown} {verb} unexpected)", field=names[0][:64]
        )

    def not_writable(self, table: Table, name: str, operation: str) -> None:
        """Clients send back what they were shown."""

    # -- lists

    def listing(self, request: Request, table: Table) -> Listing:
        listing = Listing()
        for name in dict.fromkeys(name for name, _ in request.query):
            values = request.args(name)
            if name == "limit":
                listing.query.limit = self.limit(values[-1])
            elif name == "marker":
                listing.query.marker = values[-1]
            elif name == "sort_key":
                directions = request.args("sort_dir")
                for index, key in enumerate(values):
                    direction = directions[index] if index < len(directions) else "asc"
                    self.sort(listing.query, table, key, direction)
            elif name != "sort_dir":
                self.condition(request, table, listing, name, values)
        return listing

    def condition(
        self, request: Request, table: Table, listing: Listing, name: str, values: list[str]
    ) -> None:
        filters = listing.query.filters
        if name in _TAGS and "tags" in table.shape.by_name:
            wanted = [tag for value in values for tag in value.split(",")]
            filters.add(path="meta.tags", op=_TAGS[name], values=wanted)
            return
        if name == "password_expires_at" and table.singular == "user":
            filters.extend(expiry(values[-1]))
            return
        base, _, operator = name.partition("__")
        column = table.filters.get(base)
        if column is None or not column.field.path:
            return
        if operator in _INEXACT:
            filters.add(path=column.field.path, op=_INEXACT[operator], values=values[-1:])
        elif not operator:
            wanted = [form for value in values[-1:] for form in _filter_values(column.codec, value, name)]
            filters.add(path=column.field.path, op=Filter.OP_IN, values=wanted)

    def page(
        self, request: Request, table: Table, items: list[JsonValue], listing: Listing, next_marker: str
    ) -> JsonValue:
        following = self.next_url(request, next_marker) if next_marker else None
        return collection(request, table.plural, items, following)

    # -- errors

    def fault(self, request: Request, fault: Fault) -> Response:
        if fault.status == 401:
            fault.headers.setdefault("vary", "X-Auth-Token")
        return super().fault(request, fault)

    def fault_body(self, request: Request, fault: Fault) -> JsonValue:
        return {"error": {"code": fault.status, "message": _message(fault), "title": fault.title}}


def _message(fault: Fault) -> str:
    """What every service refuses, in this API's words."""
    facts = fault.facts
    if rule := facts.get("rule"):
        return f"You are not authorized to perform the requested action: {rule}."
    if facts.get("index") == "name":
        noun = fault.reason.removesuffix("_EXISTS").replace("_", " ").lower()
        _, _, name = facts["value"].partition("/")
        return f"Conflict occurred attempting to store {noun} - Duplicate entry found with name {name}."
    if facts.get("index") == "place":
        noun = fault.reason.removesuffix("_EXISTS").lower()
        return f"Conflict occurred attempting to store {noun} - Duplicate entry."
    return fault.message


def _filter_values(codec: object, value: str, name: str) -> list[str]:
    """null and the empty string are the same."""
    found: list[str] = codec.filter_values(value, name)  # type: ignore[attr-defined]
    return found


def collection(
    request: Request, plural: str, items: list[JsonValue], following: str | None = None
) -> dict[str, JsonValue]:
    """The body of a list."""
    return {plural: items, "links": {"next": following, "self": own_url(request), "previous": None}}


def own_url(request: Request) -> str:
    """The URL that was asked for."""
    query = "&".join(f"{name}={value}" for name, value in request.query)
    return f"{request.base_url}{request.path}{'?' if query else ''}{query}"
