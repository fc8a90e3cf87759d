"""How one API words things: list parameters, pages, bodies and errors; each API subclasses Dialect."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlencode

from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request, Response
from gateway.core.microversion import Microversions
from gateway.core.route import Route
from gateway.core.table import Table
from gateway.core.upstream import Upstream


@dataclasses.dataclass
class Listing:
    """A list's parameters: the query for the service, and the attributes to show (empty: all)."""

    query: query_pb2.Query = dataclasses.field(default_factory=query_pb2.Query)
    fields: tuple[str, ...] = ()


class Dialect:
    """The behaviour that most of the APIs share; override what an API does otherwise."""

    statuses: ClassVar[Statuses] = {}  # where the API's HTTP statuses differ
    default_limit = 0  # of lists; 0: all
    max_limit = 1000
    request_id_headers: Sequence[str] = ("x-openstack-request-id",)

    # -- bodies

    def unwrap(self, table: Table, body: JsonValue, request: Request) -> dict[str, JsonValue]:
        """The resource in a create's or update's body. Raises Invalid."""
        inner = body.get(table.body_key) if isinstance(body, dict) else None
        if not isinstance(inner, dict):
            raise Invalid(f"The request body must have an object '{table.body_key}'.", field=table.body_key)
        return inner

    def wrap(self, table: Table, item: dict[str, JsonValue], request: Request) -> JsonValue:
        """The body of an answer with one resource."""
        return {table.singular: item}

    def unknown_attributes(self, table: Table, names: list[str], operation: str) -> NoReturn:
        """Refuse attributes that the table does not have."""
        shown = ", ".join(f"'{name[:64]}'" for name in names)
        raise Invalid(f"Additional properties are not allowed ({shown})", field=names[0][:64])

    def not_writable(self, table: Table, name: str, operation: str) -> None:
        """Refuse an attribute that callers do not write with this operation; returning ignores it."""
        raise Invalid(f"'{name}' cannot be set with {operation}.", field=name)

    # -- lists

    def listing(self, request: Request, table: Table) -> Listing:
        """The list that the request's parameters ask for. Raises Invalid."""
        listing = Listing()
        query, fields = listing.query, []
        keys: list[str] = []
        directions: list[str] = []
        conditions: dict[str, list[str]] = {}
        for name, value in request.query:
            match name:
                case "limit":
                    query.limit = self.limit(value)
                case "marker":
                    query.marker = value
                case "sort_key":
                    keys.append(value)
                case "sort_dir":
                    directions.append(value)
                case "fields":
                    fields += [field for field in value.split(",") if field]
                case _:
                    conditions.setdefault(name, []).append(value)
        query.limit = query.limit or self.default_limit
        for index, key in enumerate(keys):
            self.sort(query, table, key, directions[index] if index < len(directions) else "asc")
        for name, values in conditions.items():
            self.condition(request, table, listing, name, values)
        listing.fields = tuple(fields)
        return listing

    def limit(self, value: str) -> int:
        """The page size that the text asks for."""
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise Invalid(f"'limit' must be a non-negative integer, not {value[:40]!r}.", field="limit")
        return min(int(value), self.max_limit)

    def sort(self, query: query_pb2.Query, table: Table, key: str, direction: str) -> None:
        """Add one sort key. Raises Invalid."""
        path = table.sorts.get(key)
        if path is None:
            raise Invalid(f"'{key[:64]}' is not a valid sort key.", field="sort_key")
        if direction not in ("asc", "desc"):
            raise Invalid(f"'sort_dir' must be asc or desc, not {direction[:40]!r}.", field="sort_dir")
        query.sorts.add(path=path, descending=direction == "desc")

    def condition(
        self, request: Request, table: Table, listing: Listing, name: str, values: list[str]
    ) -> None:
        """Add what a query parameter that is not about paging asks for: one of the values, by default."""
        column = table.filters.get(name)
        if column is None or request.microversion not in column.versions:
            return self.unknown_filter(table, name, values)
        wanted = [form for value in values for form in column.codec.filter_values(value, name)]
        listing.query.filters.add(path=column.field.path, op=query_pb2.Filter.OP_IN, values=wanted)
        return None

    def unknown_filter(self, table: Table, name: str, values: list[str]) -> None:
        """A query parameter that means nothing here: ignored by default."""

    def page(
        self, request: Request, table: Table, items: list[JsonValue], listing: Listing, next_marker: str
    ) -> JsonValue:
        """The body of a list's answer."""
        body: dict[str, JsonValue] = {table.plural: items}
        if next_marker:
            body[f"{table.plural}_links"] = [{"rel": "next", "href": self.next_url(request, next_marker)}]
        return body

    def next_url(self, request: Request, next_marker: str) -> str:
        """This request's URL with another marker."""
        pairs = [(key, value) for key, value in request.query if key != "marker"]
        return f"{request.base_url}{request.path}?{urlencode([*pairs, ('marker', next_marker)])}"

    def fields(self, request: Request) -> tuple[str, ...]:
        """The attributes that a show is asked to give; empty: all."""
        return tuple(field for value in request.args("fields") for field in value.split(",") if field)

    # -- errors

    def fault(self, request: Request, fault: Fault) -> Response:
        """The answer to a request that failed."""
        return Response(fault.status, self.fault_body(request, fault), fault.headers)

    def fault_body(self, request: Request, fault: Fault) -> JsonValue:
        return {"error": {"code": fault.status, "title": fault.title, "message": fault.message}}


Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Socket = Callable[[Mapping[str, Any], Receive, Send, Upstream], Awaitable[None]]  # ASGI, and who to call


@dataclasses.dataclass(frozen=True)
class Api:
    """One public API, exposed by gateway/<api>/api.py. Mounted at [gateway] <name>_path, else /<name>."""

    name: str
    routes: Sequence[Route]
    dialect: Dialect = dataclasses.field(default_factory=Dialect)
    microversions: Microversions | None = None
    sockets: Mapping[str, Socket] = dataclasses.field(default_factory=dict)  # WebSockets, by path
