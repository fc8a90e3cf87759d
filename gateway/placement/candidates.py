"""Placement API, section "Allocation candidates"."""

from collections.abc import Collection, Mapping

from fabric.compute.v1 import consumer_pb2 as pb
from fabric.compute.v1 import inventory_pb2, resource_provider_pb2
from fabric.compute.v1.consumer_pb2_grpc import ConsumerServiceStub
from gateway.core.codec import JsonValue
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.placement.need import bad, needs, required

_GROUPS = {
    "resources": (1, 10),
    "required": (1, 17),
    "member_of": (1, 21),
    "in_tree": (1, 31),
    "suffix": (1, 25),
}
_OTHERS = {"limit": (1, 16), "group_policy": (1, 25), "root_required": (1, 35), "same_subtree": (1, 36)}


async def index(request: Request) -> Response:
    """Which providers could give what is asked for, with what they have left."""
    version, asked = request.microversion, _asked(request)
    reply = await request.call(request.stub(ConsumerServiceStub).ListAllocationCandidates, asked)
    taken = {part.provider_id for candidate in reply.candidates for part in candidate.allocations}
    classes = {name for need in asked.needs for name in need.resources}
    return Response(
        200,
        {
            "allocation_requests": [_shown(request, candidate) for candidate in reply.candidates],
            "provider_summaries": {
                p.meta.id: _summary(request, p, classes)
                for p in reply.providers
                if version >= (1, 29) or p.meta.id in taken
            },
        },
    )


def _asked(request: Request) -> pb.ListAllocationCandidatesRequest:
    found = needs(request, _GROUPS, _OTHERS)
    if not any(need.resources for need in found.values()):
        raise bad(
            "There must be at least one resources or resources[$S] parameter.", reason="QUERY_MISSING_VALUE"
        )
    limits, policies = request.args("limit"), request.args("group_policy")
    limit, policy = next(iter(limits), ""), next(iter(policies), "")
    if limits and not (limit.isdecimal() and 0 < int(limit) < 2**31):
        raise bad(f"Invalid query string parameters: '{limit[:40]}' does not match '^[1-9][0-9]*$'")
    if policy not in ("", "none", "isolate"):
        raise bad(f"Invalid query string parameters: '{policy[:40]}' is not one of ['none', 'isolate']")
    if sum(1 for suffix in found if suffix) > 1 and not policy:
        raise bad('The "group_policy" parameter is required when specifying more than one suffixed group.')
    asked = pb.ListAllocationCandidatesRequest(
        needs=list(found.values()),
        isolate=policy == "isolate",
        limit=int(limit or 0),
        flat=request.microversion < (1, 29),
    )
    for value in _roots(request):
        required(asked.root, value, request.microversion)
    for value in request.args("same_subtree"):
        asked.subtrees.add(suffixes=_subtree(value, found))
    named = {suffix for subtree in asked.subtrees for suffix in subtree.suffixes}
    for suffix, need in found.items():
        if not need.resources and suffix not in named:
            raise bad(f"The group '{suffix}' without resources must be named in same_subtree.")
    return asked


def _roots(request: Request) -> list[str]:
    values = request.args("root_required")
    if len(values) > 1:
        raise bad("Query parameter 'root_required' may be specified only once.", reason="QUERY_DUPLICATE_KEY")
    if any(value.startswith("in:") for value in values):
        raise bad("Invalid query string parameters: root_required takes no 'in:'.")
    return values


def _subtree(value: str, found: Mapping[str, resource_provider_pb2.ProviderNeed]) -> list[str]:
    suffixes = value.split(",")
    if unknown := [suffix[:64] for suffix in suffixes if not suffix or suffix not in found]:
        raise bad(f"same_subtree takes suffixes of groups, which these are not: {unknown}")
    return suffixes


def _shown(request: Request, candidate: pb.AllocationCandidate) -> JsonValue:
    if request.microversion < (1, 12):
        old: list[JsonValue] = [
            {"resource_provider": {"uuid": part.provider_id}, "resources": dict(part.resources)}
            for part in candidate.allocations
        ]
        return {"allocations": old}
    told: dict[str, JsonValue] = {
        "allocations": {
            part.provider_id: {"resources": dict(part.resources)} for part in candidate.allocations
        }
    }
    if request.microversion >= (1, 34):
        told["mappings"] = {suffix: list(part.names) for suffix, part in candidate.providers.items()}
    return told


def _summary(
    request: Request,
    provider: resource_provider_pb2.ResourceProvider,
    classes: Collection[str],
) -> JsonValue:
    every = request.microversion >= (1, 27)
    told: dict[str, JsonValue] = {
        "resources": {
            name: {"capacity": _capacity(inventory), "used": provider.used.get(name, 0)}
            for name, inventory in sorted(provider.spec.inventories.items())
            if every or name in classes
        }
    }
    if request.microversion >= (1, 17):
        told["traits"] = list(provider.spec.traits)
    if request.microversion >= (1, 29):
        told["parent_provider_uuid"] = provider.spec.parent_id or None
        told["root_provider_uuid"] = provider.root_id
    return told


def _capacity(inventory: inventory_pb2.Inventory) -> int:
    return max(0, int((inventory.total - inventory.reserved) * inventory.allocation_ratio))


routes = [Route("GET", "/allocation_candidates", index, since="1.10")]
