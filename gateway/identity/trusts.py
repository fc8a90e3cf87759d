"""Identity API v3, extension OS-TRUST."""

from typing import Any

from fabric.identity.v1 import trust_pb2 as pb
from fabric.identity.v1.application_credential_pb2 import RoleReference
from fabric.identity.v1.trust_pb2_grpc import TrustServiceStub as Stub
from gateway.core.codec import Bool, Integer, JsonValue, List, Text, Timestamp
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Object, Table
from gateway.identity.dialect import collection, own_url

_ROLE = Object(
    RoleReference,
    [
        Field("id", "id", write="create", codec=Text(64)),
        Field("name", "name", write="create"),
        Field("domain_id", "domain_id", write="create", codec=Text(64, nullable=True)),
    ],
)


def _self(trust: pb.Trust, request: Request) -> JsonValue:
    return {"self": f"{request.api_url}/v3/OS-TRUST/trusts/{trust.meta.id}"}


def _roles_links(trust: pb.Trust, request: Request) -> JsonValue:
    own = f"{request.api_url}/v3/OS-TRUST/trusts/{trust.meta.id}/roles"
    return {"self": own, "next": None, "previous": None}


TRUSTS = Table(
    singular="trust",
    plural="trusts",
    message=pb.Trust,
    service=Stub,
    fields=[
        Field("id", "meta.id"),
        Field("trustor_user_id", "trustor_user_id", write="create", required=True, codec=Text(64)),
        Field("trustee_user_id", "trustee_user_id", write="create", required=True, codec=Text(64)),
        Field("project_id", "meta.project_id", write="create", codec=Text(64, nullable=True)),
        Field("impersonation", "impersonation", write="create", required=True, codec=Bool()),
        Field("expires_at", "expire_time", write="create", codec=Timestamp("micro")),
        Field("remaining_uses", "remaining_uses", write="create", codec=Integer(1, nullable=True)),
        Field(
            "allow_redelegation", "allow_redelegation", write="create", codec=Bool(nullable=True), read=False
        ),
        Field("redelegation_count", "redelegation_count", write="create", codec=Integer(0, nullable=True)),
        Field("redelegated_trust_id", "redelegated_trust_id", codec=Text(64, nullable=True)),
        Field("deleted_at", const=None),
        Field("roles", "roles", write="create", codec=List(_ROLE, nullable=True), read=False),
        Field("roles_links", compute=_roles_links),
        Field("links", compute=_self),
    ],
)


def _role(reference: Any, request: Request) -> dict[str, JsonValue]:
    return {
        "id": reference.id,
        "name": reference.name,
        "domain_id": reference.domain_id or None,
        "links": {"self": f"{request.api_url}/v3/roles/{reference.id}"},
    }


def _shown(trust: pb.Trust, request: Request, *, whole: bool = True) -> dict[str, JsonValue]:
    item = TRUSTS.render(trust, request)
    if item["redelegated_trust_id"] is None:
        del item["redelegated_trust_id"]
    if whole:
        item["roles"] = [_role(role, request) for role in trust.roles]
    else:
        del item["roles_links"]
    return item


async def create(request: Request) -> Response:
    message = TRUSTS.parse_create(request.api.dialect.unwrap(TRUSTS, request.json(), request), request)
    reply = await request.call(request.stub(Stub).CreateTrust, pb.CreateTrustRequest(trust=message))
    return Response(201, {"trust": _shown(reply, request)})


async def _get(request: Request) -> pb.Trust:
    return await request.call(request.stub(Stub).GetTrust, pb.GetTrustRequest(id=request.params["id"]))


async def show(request: Request) -> Response:
    return Response(200, {"trust": _shown(await _get(request), request)})


async def listing(request: Request) -> Response:
    message = pb.ListTrustsRequest(
        query=request.api.dialect.listing(request, TRUSTS).query,
        trustor_user_id=request.arg("trustor_user_id"),
        trustee_user_id=request.arg("trustee_user_id"),
    )
    reply = await request.call(request.stub(Stub).ListTrusts, message)
    items: list[JsonValue] = [_shown(trust, request, whole=False) for trust in reply.trusts]
    return Response(200, collection(request, "trusts", items))


async def delete(request: Request) -> Response:
    await request.call(request.stub(Stub).DeleteTrust, pb.DeleteTrustRequest(id=request.params["id"]))
    return Response(204)


async def roles(request: Request) -> Response:
    found: list[JsonValue] = [_role(role, request) for role in (await _get(request)).roles]
    return Response(
        200, {"roles": found, "links": {"self": own_url(request), "next": None, "previous": None}}
    )


async def role(request: Request) -> Response:
    for found in (await _get(request)).roles:
        if found.id == request.params["role_id"]:
            return Response(200, {"role": _role(found, request)})
    raise Fault(404, f"Could not find role: {request.params['role_id']}.", reason="ROLE_NOT_FOUND")


_PATH = "/v3/OS-TRUST/trusts"

routes = [
    Route("POST", _PATH, create),
    Route("GET", _PATH, listing),
    Route("GET", _PATH + "/{id}", show),
    Route("DELETE", _PATH + "/{id}", delete),
    Route("GET", _PATH + "/{id}/roles", roles),
    Route("GET", _PATH + "/{id}/roles/{role_id}", role),
]
