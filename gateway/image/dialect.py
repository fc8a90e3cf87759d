"""Image API v2: how it words lists and errors."""

import csv
import html
from typing import ClassVar
from urllib.parse import urlencode

import grpc

from fabric.image.v1 import image_pb2 as pb
from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.dialect import Dialect, Listing
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request, Response
from gateway.core.table import Table

Code = grpc.StatusCode
Filter = query_pb2.Filter
_OPERATORS: dict[str, "query_pb2.Filter.Op.ValueType"] = {
    "gt": Filter.OP_GT,
    "gte": Filter.OP_GE,
    "lt": Filter.OP_LT,
    "lte": Filter.OP_LE,
    "eq": Filter.OP_IN,
    "neq": Filter.OP_NOT_IN,
}
_LISTS = ("id", "name", "status", "container_format", "disk_format")  # attributes that take in:a,b
_OWN = ("visibility", "member_status")  # the handler reads them
_TIMES = ("created_at", "updated_at")


class ImageDialect(Dialect):
    """Resources are not wrapped, pages are linked by first and next, errors are WebOb's."""

    statuses: ClassVar[Statuses] = {
        Code.RESOURCE_EXHAUSTED: 413,
        (Code.RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED"): 413,
        (Code.FAILED_PRECONDITION, "STORAGE_FULL"): 413,
        (Code.INVALID_ARGUMENT, "IMAGE_TOO_LARGE"): 413,
        (Code.ABORTED, "IMAGE_GONE"): 410,
        (Code.INVALID_ARGUMENT, "FORMAT_MISMATCH"): 415,
        (Code.INVALID_ARGUMENT, "BACKING_FILE"): 415,
        (Code.INVALID_ARGUMENT, "DATA_FILE"): 415,
        (Code.INVALID_ARGUMENT, "REFERS_TO_FILES"): 415,
    }
    default_limit = 25

    # -- lists

    def listing(self, request: Request, table: Table) -> Listing:
        listing = Listing()
        query = listing.query
        query.limit = self.default_limit
        sorting: dict[str, list[str]] = {"sort": [], "sort_key": [], "sort_dir": []}
        conditions: dict[str, list[str]] = {}
        for name, value in request.query:
            if name == "limit":
                query.limit = self.limit(value)
            elif name == "marker":
                query.marker = value
            elif name in sorting:
                sorting[name].append(value)
            else:
                conditions.setdefault(name, []).append(value)
        self._sorts(query, table, sorting)
        for name, values in conditions.items():
            self.condition(request, table, listing, name, values)
        return listing

    def limit(self, value: str) -> int:
        if value.startswith("-") and value[1:].isdigit():
            raise Invalid("limit param must be positive", field="limit")
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            raise Invalid("limit param must be an integer", field="limit")
        return min(int(value), self.max_limit)

    def _sorts(self, query: query_pb2.Query, table: Table, sorting: dict[str, list[str]]) -> None:
        keys, directions = sorting["sort_key"], sorting["sort_dir"]
        if sorting["sort"]:
            if keys or directions:
                raise Invalid("Old and new sorting syntax cannot be combined", field="sort")
            pairs = [part.strip().partition(":") for part in sorting["sort"][-1].split(",")]
            keys, directions = (
                [key for key, _, _ in pairs],
                [direction or "desc" for _, _, direction in pairs],
            )
        elif len(directions) > 1 and len(directions) != len(keys):
            raise Invalid("Number of sort dirs does not match the number of sort keys", field="sort_dir")
        if not keys:
            keys = ["created_at"]
        if len(directions) < len(keys):
            directions = (directions or ["desc"]) * len(keys)
        for key, direction in zip(keys, directions, strict=False):
            self.sort(query, table, key, direction)
        for key in ("created_at", "id"):
            if key in table.sorts and key not in keys:
                self.sort(query, table, key, "desc")

    def sort(self, query: query_pb2.Query, table: Table, key: str, direction: str) -> None:
        if direction not in ("asc", "desc"):
            raise Invalid(f"Invalid sort direction: {direction[:40]}", field="sort_dir")
        super().sort(query, table, key, direction)

    def condition(
        self, request: Request, table: Table, listing: Listing, name: str, values: list[str]
    ) -> None:
        filters = listing.query.filters
        column = table.filters.get(name)
        if name in _OWN:
            return
        if name == "tag":
            filters.add(path="meta.tags", op=Filter.OP_ALL, values=values)
        elif name in ("size_min", "size_max"):
            if not values[-1].isascii() or not values[-1].isdigit() or len(values[-1]) > 18:
                raise Invalid(f"Cannot convert {name} to an integer.", field=name)
            op = Filter.OP_GE if name == "size_min" else Filter.OP_LE
            filters.add(path="view.size_bytes", op=op, values=[values[-1]])
        elif name in _TIMES and column is not None:
            operator, given = _operator(values[-1])
            filters.add(
                path=column.field.path,
                op=_OPERATORS[operator],
                values=column.codec.filter_values(given, name),
            )
        elif name in _LISTS and values[-1].startswith("in:") and column is not None:
            words = _words(name, values[-1][3:])
            wanted = [form for word in words for form in column.codec.filter_values(word, name)]
            filters.add(path=column.field.path, op=Filter.OP_IN, values=wanted)
        elif column is not None:
            super().condition(request, table, listing, name, values[-1:])
        elif table.message is pb.Image:
            if len(name) > 255:
                raise Invalid("A property's name is longer than 255 characters.", field=name[:64])
            filters.add(path=f"spec.properties.{name}", op=Filter.OP_IN, values=values[-1:])

    def page(
        self, request: Request, table: Table, items: list[JsonValue], listing: Listing, next_marker: str
    ) -> JsonValue:
        path = request.path.removeprefix(request.mount).rstrip("/")
        pairs = [(key, value) for key, value in request.query if key != "marker"]
        first = f"{path}?{urlencode(pairs)}" if pairs else path
        body: dict[str, JsonValue] = {
            table.plural: items,
            "first": first,
            "schema": f"/v2/schemas/{table.plural}",
        }
        if next_marker:
            body["next"] = f"{path}?{urlencode([*pairs, ('marker', next_marker)])}"
        return body

    # -- errors

    def fault(self, request: Request, fault: Fault) -> Response:
        accept = request.headers.get("accept", "")
        if "application/json" in accept:
            return super().fault(request, fault)
        status = f"{fault.status} {fault.title}"
        page = (
            f"<html>\n <head>\n  <title>{status}</title>\n </head>\n <body>\n  <h1>{status}</h1>\n  "
            f"{html.escape(fault.message)}<br /><br />\n\n\n </body>\n</html>"
        )
        headers = {**fault.headers, "content-type": "text/html; charset=UTF-8"}
        return Response(fault.status, page.encode(), headers)

    def fault_body(self, request: Request, fault: Fault) -> JsonValue:
        return {
            "message": fault.message,
            "code": f"{fault.status} {fault.title}",
            "title": fault.title,
        }


def _operator(text: str) -> tuple[str, str]:
    operator, colon, rest = text.partition(":")
    return (operator, rest) if colon and operator in _OPERATORS else ("eq", text)


def _words(name: str, text: str) -> list[str]:
    """The values of in:, comma separated, quoted where they hold commas."""
    try:
        words = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise Invalid(f"Invalid filter value {text[:200]}.", field=name) from error
    if not words or not all(words):
        raise Invalid(f"Invalid filter value {text[:200]}. There is no value in it.", field=name)
    return words
