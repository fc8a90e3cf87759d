"""Networking API v2.0, sections "Quality of Service" and those of its rules."""

from collections.abc import Mapping
from typing import Any

from fabric.network.v1 import qos_pb2 as pb
from fabric.network.v1.qos_pb2_grpc import QosServiceStub
from gateway.core.codec import Enum, Integer, JsonValue
from gateway.core.dialect import Listing
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.network.resource import BOOL, BOTH, PREFIX, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

_BASE = f"{PREFIX}/qos"
_AMOUNT = Integer(0, lenient=True)
_MARKS = (0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 46, 48, 56)
_DIRECTIONS = ("egress", "ingress")
_DIRECTION = shown("direction", "spec.direction", write=BOTH, codec=Enum(_DIRECTIONS), default="egress")


def _amount(name: str, **facts: Any) -> Field:
    return shown(name, f"spec.{name}", write=BOTH, codec=_AMOUNT, **facts)


_FIELDS = {  # by type
    "bandwidth_limit": [_amount("max_kbps", required=True), _amount("max_burst_kbps"), _DIRECTION],
    "dscp_marking": [_amount("dscp_mark", required=True)],
    "minimum_bandwidth": [_amount("min_kbps", required=True), _DIRECTION],
    "packet_rate_limit": [_amount("max_kpps", required=True), _amount("max_burst_kpps"), _DIRECTION],
}


def _table(kind: str, prefix: str) -> Table:
    return Table(
        singular=f"{prefix}{kind}_rule",
        plural=f"{prefix}{kind}_rules",
        message=pb.QosRule,
        service=QosServiceStub,
        fields=[shown("id", "meta.id"), *_FIELDS[kind]],
    )


def rules_of(policy: pb.QosPolicy, request: Request) -> JsonValue:
    """Each as its own resource shows it, with its type."""
    shown_rules: list[JsonValue] = []
    for rule in policy.rules:
        item = _TABLES[rule.spec.type].render(rule, request)
        shown_rules.append({**item, "type": rule.spec.type, "qos_policy_id": rule.spec.policy_id})
    return shown_rules


_TABLES = {kind: _table(kind, "") for kind in _FIELDS}
POLICIES = Table(
    singular="policy",
    plural="policies",
    message=pb.QosPolicy,
    service=QosServiceStub,
    fields=[
        *first_fields(),
        shown("shared", "spec.shared", write=BOTH, codec=BOOL),
        shown("is_default", "spec.is_default", write=BOTH, codec=BOOL),
        Field("rules", compute=rules_of),
        *standard_fields(),
    ],
)


class Rules(Resource):
    """The rules of one type; below their policy, or under an alias that names none."""

    def __init__(self, kind: str, *, alias: bool = False) -> None:
        super().__init__(_table(kind, "alias_") if alias else _TABLES[kind])
        self._kind = kind
        self._alias = alias

    async def get(self, request: Request) -> Any:
        found = await super().get(request)
        asked = request.params.get("policy", found.spec.policy_id)
        if (found.spec.policy_id, found.spec.type) != (asked, self._kind):
            raise Fault(
                404,
                f"QoS rule {request.params['id'][:64]} for policy {asked[:64]} could not be found.",
                reason="QOS_RULE_NOT_FOUND",
            )
        return found

    def parse(self, request: Request, body: Mapping[str, JsonValue]) -> Any:
        rule = super().parse(request, body)
        rule.spec.policy_id, rule.spec.type = request.params["policy"], self._kind
        return rule

    async def list(self, request: Request) -> Response:
        await request.call(
            request.stub(QosServiceStub).GetQosPolicy, pb.GetQosPolicyRequest(id=request.params["policy"])
        )
        return await super().list(request)

    def listing(self, request: Request) -> Listing:
        listing = super().listing(request)
        for path, value in (("spec.policy_id", request.params["policy"]), ("spec.type", self._kind)):
            listing.query.filters.add(path=path, values=[value])
        return listing

    async def update(self, request: Request) -> Response:
        await self.get(request)
        return await super().update(request)

    async def delete(self, request: Request) -> Response:
        await self.get(request)
        return await super().delete(request)


def _details(kind: str) -> JsonValue:
    """What of a rule the fabric makes true."""
    known: dict[str, JsonValue] = {
        "direction": {"parameter_type": "choices", "parameter_values": list(_DIRECTIONS)},
        "dscp_mark": {"parameter_type": "choices", "parameter_values": list(_MARKS)},
    }
    amount = {"parameter_type": "range", "parameter_values": {"start": 0, "end": 2**31 - 1}}
    parameters: list[JsonValue] = []
    for field in _FIELDS[kind]:
        parameters.append({"parameter_name": field.public, **known.get(field.public, amount)})
    return [{"name": "fabric", "supported_parameters": parameters}]


_FLAGS = ("all_supported", "all_rules")  # what nodes can do, which is listed anyway, or all that can be said


async def list_types(request: Request) -> Response:
    reply = await request.call(request.stub(QosServiceStub).ListQosRuleTypes, pb.ListQosRuleTypesRequest())
    types = [found.type for found in reply.qos_rule_types]
    if _flag(request, "all_rules"):
        types = sorted(_FIELDS)
    return Response(200, {"rule_types": [{"type": kind} for kind in types]})


def _flag(request: Request, name: str) -> bool:
    asked = {other: BOOL.from_json(request.arg(other), other) for other in _FLAGS if request.arg(other)}
    if all(asked.get(other) for other in _FLAGS):
        raise Invalid("Only one of all_supported and all_rules can be asked for.", field=name)
    return bool(asked.get(name))


async def show_type(request: Request) -> Response:
    asked = pb.GetQosRuleTypeRequest(type=request.params["type"])
    found = await request.call(request.stub(QosServiceStub).GetQosRuleType, asked)
    return Response(200, {"rule_type": {"type": found.type, "drivers": _details(found.type)}})


_policies = Resource(POLICIES)
routes = [
    *_policies.routes(path=f"{_BASE}/policies"),
    *Tags(_policies).routes(),
    *(
        route
        for kind in _FIELDS
        for route in Rules(kind).routes(path=f"{_BASE}/policies/{{policy}}/{kind}_rules")
    ),
    *(
        route
        for kind in _FIELDS
        for route in Rules(kind, alias=True).routes("show update delete", f"{_BASE}/alias_{kind}_rules")
    ),
    Route("GET", f"{_BASE}/rule-types", list_types),
    Route("GET", f"{_BASE}/rule-types/{{type}}", show_type),
]
