"""What of a provider is asked for in a query: resources, required, member_of, in_tree, by group."""

import re
from collections.abc import Mapping, Sequence

from fabric.compute.v1 import resource_provider_pb2 as pb
from gateway.compute import body
from gateway.core.fault import Invalid
from gateway.core.http import Request

_GROUP = re.compile(r"(resources|required|member_of|in_tree)([a-zA-Z0-9_-]{1,64})?")
_RESOURCE = re.compile(r"([A-Z0-9_]+):([1-9][0-9]{0,9})")
_NAME = re.compile(r"[A-Z0-9_]{1,255}")


def needs(request: Request, others: Sequence[str]) -> Mapping[str, pb.ProviderNeed]:
    """By suffix; others: the parameters that are about something else. Raises Invalid."""
    found: dict[str, pb.ProviderNeed] = {}
    for name, value in request.query:
        match = _GROUP.fullmatch(name)
        if match is None:
            if name not in others:
                raise bad(f"Invalid query string parameters: '{name[:64]}' was unexpected")
            continue
        kind, suffix = match[1], match[2] or ""
        need = found.setdefault(suffix, pb.ProviderNeed(suffix=suffix))
        if kind == "resources":
            _resources(need, value)
        elif kind == "required":
            _required(need, value, request)
        elif kind == "member_of":
            _member_of(need, value)
        else:
            need.in_tree = body.uuid(value, "in_tree", request.microversion)
    return found


def bad(message: str) -> Invalid:
    """The error of a query that cannot be understood."""
    return Invalid(message, reason="QUERY_BAD_VALUE")


def _resources(need: pb.ProviderNeed, value: str) -> None:
    for part in value.split(","):
        match = _RESOURCE.fullmatch(part)
        if match is None:
            raise bad(
                f"Badly formed resources parameter. Expected resources=CLASS:AMOUNT, got {part[:80]!r}."
            )
        need.resources[match[1]] = int(match[2])


def _required(need: pb.ProviderNeed, value: str, request: Request) -> None:
    if value.startswith("in:") and request.microversion >= (1, 39):
        names = value.removeprefix("in:").split(",")
        need.traits.add(names=names)
    else:
        names = value.split(",")
        for name in names:
            if name.startswith("!") and request.microversion >= (1, 22):
                need.forbidden_traits.append(name[1:])
            else:
                need.traits.add(names=[name])
    if not all(_NAME.fullmatch(name.removeprefix("!")) for name in names):
        raise bad(f"Invalid query string parameters: Expected 'required' of traits, got {value[:80]!r}.")


def _member_of(need: pb.ProviderNeed, value: str) -> None:
    forbidden, plain = value.startswith("!"), value.removeprefix("!")
    ids = plain.removeprefix("in:").split(",") if plain.startswith("in:") else [plain]
    for id_ in ids:
        try:
            body.uuid(id_, "member_of", (1, 0))
        except Invalid as error:
            raise bad(
                f"Expected 'member_of' parameter to contain valid UUID(s), got {id_[:80]!r}."
            ) from error
    if forbidden:
        need.forbidden_aggregate_ids.extend(ids)
    else:
        need.aggregate_ids.add(names=ids)
