"""What of a provider is asked for in a query: resources, required, member_of, in_tree, by group."""

import re
import uuid
from collections.abc import Mapping

from fabric.compute.v1 import resource_provider_pb2 as pb
from gateway.compute import body
from gateway.core.codec import JsonValue
from gateway.core.fault import Invalid
from gateway.core.http import Request
from gateway.core.microversion import Version

_GROUP = re.compile(r"(resources|required|member_of|in_tree)(.*)")
_NUMBER = re.compile(r"[1-9][0-9]*")
_SUFFIX = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_RESOURCE = re.compile(r"([A-Z0-9_]+):([1-9][0-9]{0,9})")
_NAME = re.compile(r"!?[A-Z0-9_]{1,255}")

Known = Mapping[str, Version]  # parameters, and since when


def bad(message: str, reason: str = "QUERY_BAD_VALUE") -> Invalid:
    """The error of a query that cannot be understood."""
    return Invalid(message, reason=reason)


def one_uuid(value: JsonValue, name: str, version: Version) -> str:
    """A UUID, in the one form that ids have."""
    return str(uuid.UUID(body.uuid(value, name, version)))


def check_known(request: Request, known: Known) -> None:
    """Raise Invalid for parameters that the version does not know."""
    for name, _ in request.query:
        if not _known(known, name, request.microversion):
            raise _unexpected(name)


def needs(request: Request, groups: Known, others: Known) -> Mapping[str, pb.ProviderNeed]:
    """By suffix; others: the parameters that are about something else. Raises Invalid.

    A parameter that is there twice says what it says last, where several are not a list.
    """
    version, found = request.microversion, dict[str, pb.ProviderNeed]()
    given: dict[str, list[str]] = {}
    for name, value in request.query:
        if not _known(others, name, version):
            given.setdefault(name, []).append(value)
    for name, values in given.items():
        match = _GROUP.fullmatch(name)
        if match is None or not _known(groups, match[1], version) or not _ends(groups, match[2], version):
            raise _unexpected(name)
        kind, suffix = match[1], match[2]
        need = found.setdefault(suffix, pb.ProviderNeed(suffix=suffix))
        if kind == "resources":
            _resources(need, values[-1])
        elif kind == "required":
            for value in values if version >= (1, 39) else values[-1:]:
                required(need, value, version)
        elif kind == "member_of":
            if len(values) > 1 and version < (1, 24):
                raise bad("Multiple member_of parameters are not supported")
            for value in values:
                _member_of(need, value, version)
        else:
            need.in_tree = one_uuid(values[-1], "in_tree", version)
    return found


def required(need: pb.ProviderNeed, value: str, version: Version) -> None:
    """Add the traits that the text names. Raises Invalid."""
    if any_of := value.startswith("in:"):
        if version < (1, 39):
            raise bad("The format 'in:HW_CPU_X86_VMX,CUSTOM_MAGIC' only supported since microversion 1.39.")
        value = value.removeprefix("in:")
    names, forbids = value.split(","), version >= (1, 22)
    if not all(_NAME.fullmatch(name) and (name[0] != "!" or (forbids and not any_of)) for name in names):
        form = "HW_CPU_X86_VMX,!CUSTOM_MAGIC" if forbids else "HW_CPU_X86_VMX,CUSTOM_MAGIC"
        raise bad(
            f"Invalid query string parameters: Expected 'required' parameter value of the form: {form}. "
            f"Got: {value[:80]}"
        )
    wanted = [name for name in names if name[0] != "!"]
    need.forbidden_traits.extend(name[1:] for name in names if name[0] == "!")
    if any_of:
        need.traits.add(names=wanted)
    else:
        for name in wanted:
            need.traits.add(names=[name])
    alone = {part.names[0] for part in need.traits if len(part.names) == 1}
    if both := alone.intersection(need.forbidden_traits):
        raise bad(f"Conflicting required and forbidden traits found: {', '.join(sorted(both))}")


def _unexpected(name: str) -> Invalid:
    return bad(
        "Invalid query string parameters: Additional properties are not allowed "
        f"('{name[:64]}' was unexpected)",
        reason="INVALID_INPUT",
    )


def _known(known: Known, name: str, version: Version) -> bool:
    return name in known and version >= known[name]


def _ends(groups: Known, suffix: str, version: Version) -> bool:
    form = _SUFFIX if version >= (1, 33) else _NUMBER
    return not suffix or (_known(groups, "suffix", version) and form.fullmatch(suffix) is not None)


def _resources(need: pb.ProviderNeed, value: str) -> None:
    for part in value.split(","):
        match = _RESOURCE.fullmatch(part)
        if match is None:
            raise bad(
                f"Badly formed resources parameter. Expected resources=CLASS:AMOUNT, got {part[:80]!r}."
            )
        need.resources[match[1]] = int(match[2])


def _member_of(need: pb.ProviderNeed, value: str, version: Version) -> None:
    forbidden, plain = value.startswith("!"), value.removeprefix("!")
    if forbidden and version < (1, 32):
        raise bad("Forbidden member_of parameters are not supported in the specified microversion")
    ids = plain.removeprefix("in:").split(",") if plain.startswith("in:") else [plain]
    try:
        ids = [body.uuid(id_, "member_of", version) for id_ in ids]  # as they were written
    except Invalid as error:
        raise bad(
            "Invalid query string parameters: Expected 'member_of' parameter to contain valid UUID(s). "
            f"Got: {value[:80]}"
        ) from error
    if forbidden:
        need.forbidden_aggregate_ids.extend(ids)
    else:
        need.aggregate_ids.add(names=ids)
