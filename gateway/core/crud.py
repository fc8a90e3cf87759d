"""The usual routes of a table: list, detail, show, create, update, delete."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.http import Request, Response
from gateway.core.route import Handler, Route
from gateway.core.table import Table

ALL = "list detail show create update delete"


def crud(
    table: Table,
    prefix: str,
    *,
    only: str = ALL,
    detail: bool = False,
    update: str = "PUT",
    create_status: int = 201,
    update_status: int = 200,
    delete_status: int = 204,
    item_id: str = "id",
    parent: Mapping[str, str] | None = None,
    segment: str = "",
    since: str = "",
    until: str = "",
) -> list[Route]:
    """Routes below prefix/<plural>.

    detail: GET <plural>/detail shows everything and GET <plural> leaves out what is detail_only.
    update: its HTTP method. parent: path parameter -> message path, set on creates and filtered by in lists.
    segment: the path's word where it is not the plural with dashes. item_id: the path parameter's name.
    """
    handlers = Crud(table, item_id, dict(parent or {}), (create_status, update_status, delete_status))
    path = f"{prefix}/{segment or table.plural.replace('_', '-')}"
    item = f"{path}/{{{item_id}}}"
    routes: dict[str, tuple[str, str, Handler]] = {
        "list": ("GET", path, handlers.list_brief if detail else handlers.list),
        "detail": ("GET", f"{path}/detail", handlers.list),
        "show": ("GET", item, handlers.show),
        "create": ("POST", path, handlers.create),
        "update": (update, item, handlers.update),
        "delete": ("DELETE", item, handlers.delete),
    }
    wanted = [name for name in only.split() if name != "detail" or detail]
    for name in wanted:
        handlers.rpcs(name)  # a table that names no RPC fails here, at start
    return [Route(*routes[name], since=since, until=until) for name in wanted]


@dataclasses.dataclass(frozen=True)
class _Rpc:
    """One method of the table's service; first, answer: the first field's name in request and reply."""

    name: str
    request: type[Message]
    first: str
    answer: str

    @classmethod
    def of(cls, method: MethodDescriptor) -> "_Rpc":
        first = method.input_type.fields_by_number[1].name
        answer = method.output_type.fields_by_number[1].name
        return cls(method.name, GetMessageClass(method.input_type), first, answer)


class Crud:
    """The handlers of one table; custom routes use them too."""

    def __init__(
        self,
        table: Table,
        item_id: str = "id",
        parents: Mapping[str, str] | None = None,
        statuses: tuple[int, int, int] = (201, 200, 204),
    ) -> None:
        self.table = table
        self._item_id = item_id
        self._parents = parents or {}
        self._create_status, self._update_status, self._delete_status = statuses

    def rpcs(self, name: str) -> _Rpc:
        """The RPC of a route's name. Raises KeyError."""
        attribute = {"detail": "_list", "show": "_get"}.get(name, f"_{name}")
        return getattr(self, attribute)  # type: ignore[no-any-return]

    async def list(self, request: Request) -> Response:
        return await self._answer_list(request, detail=True)

    async def list_brief(self, request: Request) -> Response:
        return await self._answer_list(request, detail=False)

    async def _answer_list(self, request: Request, detail: bool) -> Response:
        table, dialect = self.table, request.api.dialect
        listing = dialect.listing(request, table)
        for name, path in self._parents.items():
            listing.query.filters.add(path=path, op=query_pb2.Filter.OP_IN, values=[request.params[name]])
        reply = await self.call(request, self._list, query=listing.query)
        items = table.render_list(
            getattr(reply, self._list.answer), request, detail=detail, fields=listing.fields
        )
        return Response(200, dialect.page(request, table, items, listing, reply.next_marker))

    async def show(self, request: Request) -> Response:
        dialect = request.api.dialect
        message = await self.get(request)
        item = self.table.render(message, request, fields=dialect.fields(request))
        return Response(200, dialect.wrap(self.table, item, request))

    async def get(self, request: Request) -> Any:
        """The message that the path names. Raises Fault."""
        return await self.call(request, self._get, **{self._get.first: request.params[self._item_id]})

    async def create(self, request: Request) -> Response:
        table, dialect = self.table, request.api.dialect
        body = request.json()
        bodies = body.get(table.plural)
        if self._batch and isinstance(bodies, list) and table.body_key not in body:
            return await self._create_many(request, bodies, self._batch)
        message = self.parse(request, dialect.unwrap(table, body, request))
        created = await self.call(request, self._create, **{self._create.first: message})
        return Response(self._create_status, dialect.wrap(table, table.render(created, request), request))

    def parse(self, request: Request, body: Mapping[str, JsonValue]) -> Any:
        """The message of an unwrapped create body, with what the path says. Raises Invalid."""
        message = self.table.parse_create(body, request)
        for name, path in self._parents.items():
            *parents, leaf = path.split(".")
            owner = message
            for part in parents:
                owner = getattr(owner, part)
            setattr(owner, leaf, request.params[name])
        return message

    async def _create_many(self, request: Request, bodies: Sequence[JsonValue], batch: _Rpc) -> Response:
        """All or none."""
        table, dialect = self.table, request.api.dialect
        messages = [
            self.parse(request, dialect.unwrap(table, {table.body_key: body}, request)) for body in bodies
        ]
        creates = [self._create.request(**{self._create.first: message}) for message in messages]
        reply = await self.call(request, batch, **{batch.first: creates})
        created = table.render_list(getattr(reply, batch.answer), request)
        return Response(self._create_status, {table.plural: created})

    async def update(self, request: Request) -> Response:
        table, dialect = self.table, request.api.dialect
        message, paths = table.parse_update(dialect.unwrap(table, request.json(), request), request)
        if paths:
            message.meta.id = request.params[self._item_id]
            changed = {self._update.first: message, "update_mask": FieldMask(paths=paths)}
            updated = await self.call(request, self._update, **changed)
        else:  # an empty mask would mean: everything
            updated = await self.get(request)
        return Response(self._update_status, dialect.wrap(table, table.render(updated, request), request))

    async def delete(self, request: Request) -> Response:
        await self.call(request, self._delete, **{self._delete.first: request.params[self._item_id]})
        return Response(self._delete_status)

    async def call(self, request: Request, rpc: _Rpc, **fields: Any) -> Any:
        """Call one of the table's RPCs with a request of these fields. Raises Fault."""
        return await request.call(getattr(request.stub(self.table.service), rpc.name), rpc.request(**fields))

    # -- the RPCs, found once by the naming conventions of proto/

    def _rpc(self, verb: str, *endings: str) -> _Rpc | None:
        package = self.table.message.DESCRIPTOR.file.package
        service = f"{package}.{self.table.service.__name__.removesuffix('Stub')}"
        methods = descriptor_pool.Default().FindServiceByName(service).methods_by_name
        names = [verb + ending for ending in endings or (self.table.rpc,)]
        return next((_Rpc.of(methods[name]) for name in names if name in methods), None)

    def _must(self, verb: str, *endings: str) -> _Rpc:
        found = self._rpc(verb, *endings)
        if found is None:
            raise KeyError(f"{self.table.service.__name__} has no {verb} of {self.table.rpc}")
        return found

    @property
    def _plurals(self) -> tuple[str, ...]:
        rpc = self.table.rpc
        return f"{rpc}s", f"{rpc[:-1]}ies", f"{rpc}es"

    @cached_property
    def _list(self) -> _Rpc:
        return self._must("List", *self._plurals)

    @cached_property
    def _get(self) -> _Rpc:
        return self._must("Get")

    @cached_property
    def _create(self) -> _Rpc:
        return self._must("Create")

    @cached_property
    def _batch(self) -> _Rpc | None:
        return self._rpc("BatchCreate", *self._plurals)

    @cached_property
    def _update(self) -> _Rpc:
        return self._must("Update")

    @cached_property
    def _delete(self) -> _Rpc:
        return self._must("Delete")
