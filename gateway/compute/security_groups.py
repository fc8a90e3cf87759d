"""Compute API, "Security groups" (until 2.35): a thin proxy of the Network API."""

from collections.abc import Mapping, Sequence

import grpc
from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network.v1 import security_group_pb2 as pb
from fabric.network.v1.security_group_pb2_grpc import SecurityGroupServiceStub
from gateway.compute import body
from gateway.compute.reading import body_of
from gateway.compute.server_security_group import groups
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request, Response
from gateway.core.route import Route

_GROUP = body.Obj({"name": body.text(255), "description": body.maybe(body.text())}, required=["name"])
_RULE = body.Obj(
    {
        "parent_group_id": body.uuid,
        "ip_protocol": body.maybe(body.text()),
        "from_port": body.maybe(body.either(body.integer(-1, 65535), body.text(5))),
        "to_port": body.maybe(body.either(body.integer(-1, 65535), body.text(5))),
        "cidr": body.maybe(body.text()),
        "group_id": body.maybe(body.text()),
    },
    required=["parent_group_id"],
    open=True,
)
_STATUSES: Statuses = {grpc.StatusCode.FAILED_PRECONDITION: 400, grpc.StatusCode.ALREADY_EXISTS: 400}


def _rule(rule: pb.SecurityGroupRule, names: Mapping[str, str]) -> JsonValue:
    spec = rule.spec
    shown: dict[str, JsonValue] = {
        "id": rule.meta.id,
        "parent_group_id": spec.security_group_id,
        "ip_protocol": spec.protocol or None,
        "from_port": spec.port_range_min if spec.HasField("port_range_min") else None,
        "to_port": spec.port_range_max if spec.HasField("port_range_max") else None,
        "group": {},
        "ip_range": {},
    }
    if spec.remote_group_id:
        shown["group"] = {
            "name": names.get(spec.remote_group_id, spec.remote_group_id),
            "tenant_id": rule.meta.project_id,
        }
    else:
        anywhere = "::/0" if spec.ethertype == "IPv6" else "0.0.0.0/0"
        shown["ip_range"] = {"cidr": spec.remote_ip_prefix or anywhere}
    return shown


async def shown(request: Request, found: Sequence[pb.SecurityGroup]) -> list[JsonValue]:
    """With their rules for traffic that comes in."""
    names = {group.meta.id: group.meta.name for group in found}
    remote = {rule.spec.remote_group_id for group in found for rule in group.rules} - {"", *names}
    if remote:
        names |= {group.meta.id: group.meta.name for group in await groups(request, remote)}
    return [_shown(group, names) for group in found]


def _shown(group: pb.SecurityGroup, names: Mapping[str, str]) -> JsonValue:
    return {
        "id": group.meta.id,
        "name": group.meta.name,
        "description": group.meta.description,
        "tenant_id": group.meta.project_id,
        "rules": [_rule(rule, names) for rule in group.rules if rule.spec.direction == "ingress"],
    }


async def index(request: Request) -> Response:
    """Of the project."""
    found = await groups(request)
    return Response(200, {"security_groups": await shown(request, found)})


async def show(request: Request) -> Response:
    """One."""
    asked = pb.GetSecurityGroupRequest(id=request.params["group_id"])
    found = await request.call(request.stub(SecurityGroupServiceStub).GetSecurityGroup, asked)
    return Response(200, {"security_group": (await shown(request, [found]))[0]})


def _named(given: dict[str, JsonValue]) -> pb.SecurityGroup:
    if not str(given["name"]).strip():
        raise Invalid("Security group name cannot be empty.", field="name")
    group = pb.SecurityGroup()
    group.meta.name, group.meta.description = str(given["name"]), given.get("description") or ""
    return group


async def create(request: Request) -> Response:
    """For the project."""
    group = _named(body_of(request, "security_group", _GROUP))
    group.spec.stateful = True
    asked = pb.CreateSecurityGroupRequest(security_group=group)
    made = await request.call(request.stub(SecurityGroupServiceStub).CreateSecurityGroup, asked)
    return Response(200, {"security_group": (await shown(request, [made]))[0]})


async def update(request: Request) -> Response:
    """Name and description."""
    group = _named(body_of(request, "security_group", _GROUP))
    group.meta.id = request.params["group_id"]
    mask = FieldMask(paths=["meta.name", "meta.description"])
    asked = pb.UpdateSecurityGroupRequest(security_group=group, update_mask=mask)
    made = await request.call(request.stub(SecurityGroupServiceStub).UpdateSecurityGroup, asked)
    return Response(200, {"security_group": (await shown(request, [made]))[0]})


async def delete(request: Request) -> Response:
    """Unless it is in use."""
    asked = pb.DeleteSecurityGroupRequest(id=request.params["group_id"])
    await request.call(request.stub(SecurityGroupServiceStub).DeleteSecurityGroup, asked)
    return Response(202)


async def create_rule(request: Request) -> Response:
    """For traffic that comes in."""
    given = body_of(request, "security_group_rule", _RULE)
    rule = pb.SecurityGroupRule()
    spec = rule.spec
    spec.security_group_id = given["parent_group_id"]
    spec.direction, spec.protocol = "ingress", str(given.get("ip_protocol") or "").lower()
    spec.ethertype = "IPv6" if ":" in str(given.get("cidr") or "") else "IPv4"
    spec.remote_group_id = given.get("group_id") or ""
    spec.remote_ip_prefix = given.get("cidr") or ""
    try:
        for name, path in (("from_port", "port_range_min"), ("to_port", "port_range_max")):
            port = given.get(name)
            if port is not None and int(port) != -1:
                setattr(spec, path, int(port))
    except ValueError as error:
        raise Invalid("Invalid input for from_port or to_port: not a number.", field="from_port") from error
    if spec.protocol and spec.protocol not in ("tcp", "udp", "icmp"):
        raise Invalid(f"Invalid IP protocol {spec.protocol[:40]}.", field="ip_protocol")
    asked = pb.CreateSecurityGroupRuleRequest(security_group_rule=rule)
    made = await request.call(request.stub(SecurityGroupServiceStub).CreateSecurityGroupRule, asked)
    remote = made.spec.remote_group_id
    names = {group.meta.id: group.meta.name for group in await groups(request, [remote])} if remote else {}
    return Response(200, {"security_group_rule": _rule(made, names)})


async def delete_rule(request: Request) -> Response:
    """One rule."""
    asked = pb.DeleteSecurityGroupRuleRequest(id=request.params["rule_id"])
    await request.call(request.stub(SecurityGroupServiceStub).DeleteSecurityGroupRule, asked)
    return Response(202)


async def nothing(request: Request) -> Response:
    """DELETE without an id."""
    raise Fault(404, "Security group could not be found.", reason="SECURITY_GROUP_NOT_FOUND")


_UNTIL = "2.35"
routes = [
    Route("DELETE", "/v2.1/os-security-groups", nothing, until=_UNTIL),
    Route("GET", "/v2.1/os-security-groups", index, until=_UNTIL),
    Route("POST", "/v2.1/os-security-groups", create, until=_UNTIL),
    Route("GET", "/v2.1/os-security-groups/{group_id}", show, until=_UNTIL),
    Route("PUT", "/v2.1/os-security-groups/{group_id}", update, until=_UNTIL),
    Route("DELETE", "/v2.1/os-security-groups/{group_id}", delete, until=_UNTIL, statuses=_STATUSES),
    Route("POST", "/v2.1/os-security-group-rules", create_rule, until=_UNTIL, statuses=_STATUSES),
    Route("DELETE", "/v2.1/os-security-group-rules/{rule_id}", delete_rule, until=_UNTIL),
]
