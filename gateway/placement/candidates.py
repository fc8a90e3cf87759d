"""Placement API, section "Allocation candidates"."""

from fabric.compute.v1 import consumer_pb2 as pb
from fabric.compute.v1 import inventory_pb2, resource_provider_pb2
from fabric.compute.v1.consumer_pb2_grpc import ConsumerServiceStub
from gateway.core.codec import JsonValue
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.placement.need import bad, needs

_OTHERS = ("limit", "group_policy", "root_required", "same_subtree")


async def index(request: Request) -> Response:
    """Which providers could give what is asked for, with what they have left."""
    found = needs(request, _OTHERS)
    if not found or any(not need.resources for need in found.values()):
        raise bad("All request groups must specify resources.")
    limit, policy = request.arg("limit"), request.arg("group_policy")
    if limit and not (limit.isdecimal() and 0 < int(limit) < 2**31):
        raise bad(f"Invalid query string parameters: '{limit[:40]}' does not match '^[1-9][0-9]*$'")
    if policy not in ("", "none", "isolate"):
        raise bad(f"Invalid query string parameters: '{policy[:40]}' is not one of ['none', 'isolate']")
    if sum(1 for suffix in found if suffix) > 1 and not policy and request.microversion >= (1, 25):
        raise bad('The "group_policy" parameter is required when specifying more than one suffixed group.')
    if request.arg("root_required") or request.arg("same_subtree"):
        raise bad("root_required and same_subtree are not offered by this cloud.")
    asked = pb.ListAllocationCandidatesRequest(
        needs=list(found.values()), isolate=policy == "isolate", limit=int(limit or 0)
    )
    reply = await request.call(request.stub(ConsumerServiceStub).ListAllocationCandidates, asked)
    return Response(
        200,
        {
            "allocation_requests": [_shown(request, candidate) for candidate in reply.candidates],
            "provider_summaries": {
                p.meta.id: _summary(request, p, found[min(found)]) for p in reply.providers
            },
        },
    )


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
    need: resource_provider_pb2.ProviderNeed,
) -> JsonValue:
    every = request.microversion >= (1, 27)
    told: dict[str, JsonValue] = {
        "resources": {
            name: {"capacity": _capacity(inventory), "used": provider.used.get(name, 0)}
            for name, inventory in sorted(provider.spec.inventories.items())
            if every or name in need.resources
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
