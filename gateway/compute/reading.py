"""What handlers take from a request: bodies by their rule, query strings, pages, and read-change-write."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from fabric.compute.v1 import quota_pb2
from fabric.compute.v1.quota_pb2_grpc import QuotaServiceStub
from gateway.compute.body import Obj, Rule, Version, refuse
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request

MAX_LIMIT = 1000
_TRIES = 5

M = TypeVar("M")


def body_of(request: Request, key: str, rule: Rule, **others: Rule) -> Any:
    """The value under the body's key, by the rule. Raises Invalid."""
    whole = Obj({key: rule, **others}, required=[key])(request.json(), "body", request.microversion)
    return whole[key]


def number_of(request: Request, name: str) -> int | None:
    """A non-negative whole number in the query. Raises Invalid."""
    values = request.args(name)
    if not values:
        return None
    value = values[-1]
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise refuse(name, value, f"'{value[:40]}' does not match '^[0-9]*$'")
    return int(value)


def limit_of(request: Request) -> int:
    """The size of the page. Raises Invalid."""
    asked = number_of(request, "limit")
    return MAX_LIMIT if asked is None else min(asked, MAX_LIMIT)


def marker_of(request: Request) -> str:
    """The id that the page comes after. Raises Invalid."""
    values = request.args("marker")
    if len(values) > 1:
        raise refuse("marker", values, f"{values} is too long")
    return values[0] if values else ""


def only_known(request: Request, rules: Mapping[str, Rule], version: Version | None = None) -> None:
    """Refuse query parameters that are malformed, or unknown since the version (None: ignored)."""
    for name, value in request.query:
        rule = rules.get(name)
        if rule is not None:
            rule(value, name, request.microversion)
        elif version is not None and request.microversion >= version:
            raise Invalid(
                f"Additional properties are not allowed ('{name[:64]}' was unexpected)", field=name[:64]
            )


def flag_of(request: Request, name: str) -> bool:
    """A query parameter that is a boolean; given without a value it is true. Raises Invalid."""
    values = request.args(name)
    if not values:
        return False
    word = values[-1].strip().lower()
    if word in ("", "1", "true", "t", "yes", "on", "y"):
        return True
    if word in ("0", "false", "f", "no", "off", "n"):
        return False
    raise refuse(name, values[-1], f"'{values[-1][:40]}' is not a boolean")


def time_of(request: Request, name: str) -> str:
    """An ISO 8601 time of the query, in UTC; empty: it is not there. Raises Invalid."""
    values = request.args(name)
    return time_form(values[-1], name) if values else ""


def time_form(text: str, name: str) -> str:
    """An ISO 8601 time in UTC. Raises Invalid."""
    try:
        found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise refuse(name, text, f"'{text[:40]}' is not a 'date-time'") from error
    return found.isoformat()


def page(
    request: Request, name: str, shown: list[Any], ids: Sequence[str], limit: int | None = None
) -> dict[str, JsonValue]:
    """A list's body; with a link to the next page when this one is full."""
    body: dict[str, JsonValue] = {name: shown}
    size = limit_of(request) if limit is None else limit
    if ids and len(ids) == size:
        pairs = [(key, value) for key, value in request.query if key != "marker"]
        href = f"{request.base_url}{request.path}?{urlencode([*pairs, ('marker', ids[-1])])}"
        body[f"{name}_links"] = [{"rel": "next", "href": href}]
    return body


async def learn_roles(request: Request) -> None:
    """Have the roles of the caller in request.roles, where no other call has told them yet."""
    asked = quota_pb2.GetDefaultQuotasRequest()
    await request.call(request.stub(QuotaServiceStub).GetDefaultQuotas, asked)


async def only_admins(request: Request, rule: str) -> None:
    """Raise Fault 403 for others, before anything else is looked at."""
    await learn_roles(request)
    if "admin" not in request.roles:
        text = f"Policy doesn't allow os_compute_api:{rule} to be performed."
        raise Fault(403, text, reason="PERMISSION_DENIED")


async def change(
    read: Callable[[], Awaitable[M]], write: Callable[[M], Awaitable[M]], changed: Callable[[M], None]
) -> M:
    """Read, change, write (only if nobody else wrote since); again when somebody was faster."""
    for attempt in range(_TRIES):
        message = await read()
        changed(message)
        try:
            return await write(message)
        except Fault as fault:
            if fault.reason != "STALE_REVISION" or attempt + 1 == _TRIES:
                raise
    raise AssertionError
