"""What the resources of the Networking API share: attributes, given masks, revisions, links of pages both ways."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from gateway.core.codec import Bool, Integer, JsonValue, List, Text, Timestamp
from gateway.core.crud import Crud
from gateway.core.dialect import Listing
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Handler, Route
from gateway.core.table import Field, Table
from gateway.network.paging import links

BOTH = "create update"
BOOL = Bool(lenient=True)
ADMIN = "admin service"  # who sees where things are
PREFIX = "/v2.0"
TAG = Text(255, min=1)
MAX_TAGS = 200
_REVISION = re.compile(r"revision_number=([0-9]{1,18})")


def shown(public: str, path: str, **facts: Any) -> Field:
    """An attribute by which lists can be filtered and sorted."""
    return Field(public, path, filter=True, sort=True, **facts)


def first_fields() -> list[Field]:
    """Who it is and whose."""
    return [
        shown("id", "meta.id"),
        shown("name", "meta.name", write=BOTH),
        shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
    ]


def standard_fields(tags: bool = True) -> list[Field]:
    """The standard-attr-* extensions. tags: a create may set them."""
    return [
        shown("description", "meta.description", write=BOTH),
        shown("revision_number", "meta.generation", codec=Integer()),
        shown("created_at", "meta.create_time", codec=Timestamp("neutron")),
        shown("updated_at", "meta.update_time", codec=Timestamp("neutron")),
        Field("tags", "meta.tags", write="create" if tags else "", codec=List(TAG, max=MAX_TAGS)),
    ]


class Resource(Crud):
    """The handlers of one table; creates say which attributes were given, whatever their value."""

    def routes(self, only: str = "list show create update delete", path: str = "") -> list[Route]:
        """Below /v2.0/<plural>, or below another path."""
        path = path or f"{PREFIX}/{self.table.plural.replace('_', '-')}"
        item = f"{path}/{{id}}"
        known: dict[str, tuple[str, str, Handler]] = {
            "list": ("GET", path, self.list),
            "show": ("GET", item, self.show),
            "create": ("POST", path, self.create),
            "update": ("PUT", item, self.update),
            "delete": ("DELETE", item, self.delete),
        }
        for name in only.split():
            self.rpcs(name)  # a table that names no RPC fails here, at start
        return [Route(*known[name]) for name in only.split()]

    # -- lists

    async def list(self, request: Request) -> Response:
        table = self.table
        listing = self.listing(request)
        reply = await self.call(request, self._list, query=listing.query)
        found = getattr(reply, self._list.answer)
        items = table.render_list(found, request, fields=listing.fields)
        body: dict[str, JsonValue] = {table.plural: items}
        if listing.query.limit and (page := links(request, [m.meta.id for m in found], listing.query)):
            body[f"{table.plural}_links"] = page
        return Response(200, body)

    def listing(self, request: Request) -> Listing:
        """What the list's parameters ask for. Raises Invalid."""
        return request.api.dialect.listing(request, self.table)

    # -- writes

    def creation(self, request: Request, body: Mapping[str, JsonValue]) -> Any:
        """The Create request of an unwrapped body. Raises Invalid."""
        made: Any = self._create.request(**{self._create.first: self.parse(request, body)})
        made.given_mask.paths.extend(given(self.table, body, request))
        return made

    async def create(self, request: Request) -> Response:
        table, dialect = self.table, request.api.dialect
        body = request.json()
        bodies = body.get(table.plural)
        if self._batch is not None and isinstance(bodies, list) and table.body_key not in body:
            return await self._create_many(request, bodies, self._batch)
        message = self.creation(request, dialect.unwrap(table, body, request))
        created = await request.call(self._method(request, self._create.name), message)
        return Response(201, dialect.wrap(table, table.render(created, request), request))

    async def _create_many(self, request: Request, bodies: Sequence[JsonValue], batch: Any) -> Response:
        table, dialect = self.table, request.api.dialect
        if not bodies:
            raise Invalid(f"Resource body required: '{table.plural}' is empty.", field=table.plural)
        wrapped = [
            body if isinstance(body, dict) and set(body) == {table.body_key} else {table.body_key: body}
            for body in bodies
        ]
        creates = [self.creation(request, dialect.unwrap(table, body, request)) for body in wrapped]
        reply = await self.call(request, batch, **{batch.first: creates})
        return Response(201, {table.plural: table.render_list(getattr(reply, batch.answer), request)})

    async def update(self, request: Request) -> Response:
        table, dialect = self.table, request.api.dialect
        message, paths = table.parse_update(dialect.unwrap(table, request.json(), request), request)
        message.meta.etag = await self.expected(request)
        if paths:
            message.meta.id = request.params["id"]
            try:
                updated = await self.change(request, message, FieldMask(paths=paths))
            except Fault as fault:
                raise _revised(request, fault) from fault
        else:  # an empty mask would mean: everything
            updated = await self.get(request)
        return Response(200, dialect.wrap(table, table.render(updated, request), request))

    async def change(self, request: Request, message: Any, mask: FieldMask) -> Any:
        """Call the Update method. Raises Fault."""
        return await self.call(request, self._update, **{self._update.first: message, "update_mask": mask})

    async def delete(self, request: Request) -> Response:
        await self.expected(request)
        return await super().delete(request)

    async def expected(self, request: Request) -> str:
        """The etag of the revision that If-Match names, empty without one. Raises Invalid, Fault 412."""
        header = request.headers.get("if-match", "")
        if not header:
            return ""
        revision = _REVISION.fullmatch(header.strip())
        if revision is None:
            raise Invalid(f"Invalid value for If-Match header: {header[:80]}", reason="HTTP_BAD_REQUEST")
        found = await self.get(request)
        if found.meta.generation != int(revision[1]):
            raise _unexpected(revision[1])
        return str(found.meta.etag)

    def _method(self, request: Request, name: str) -> Any:
        return getattr(request.stub(self.table.service), name)


def given(table: Table, body: Mapping[str, JsonValue], request: Request) -> list[str]:
    """The message paths that a create's body sets."""
    columns = (table.shape.column(name, request.microversion) for name in body)
    return sorted({column.field.path for column in columns if column is not None and column.field.path})


def only(request: Request, name: str) -> JsonValue:
    """The one attribute of an operation's body. Raises Invalid."""
    body = request.json()
    if set(body) != {name}:
        raise Invalid(f"The body must have '{name}' and nothing else.", field=name, reason="HTTP_BAD_REQUEST")
    return body[name]


def _unexpected(revision: str) -> Fault:
    return Fault(
        412,
        f"Constrained to {revision}, but current revision is different",
        reason="REVISION_NUMBER_CONSTRAINT_FAILED",
    )


def _revised(request: Request, fault: Fault) -> Fault:
    """Somebody was faster than an update that depends on a revision."""
    if fault.reason == "STALE_REVISION" and "if-match" in request.headers:
        return _unexpected(request.headers["if-match"].rpartition("=")[2])
    return fault
