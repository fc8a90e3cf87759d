"""Identity API v3, section "Credentials", and the extension OS-EC2."""

from typing import Any

import orjson

from fabric.identity.v1 import credential_pb2 as pb
from fabric.identity.v1 import token_pb2
from fabric.identity.v1.credential_pb2_grpc import CredentialServiceStub as Stub
from fabric.identity.v1.token_pb2_grpc import TokenServiceStub
from gateway.core.codec import JsonValue, Text
from gateway.core.crud import crud
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import collection
from gateway.identity.links import links
from gateway.identity.projects import BOTH
from gateway.identity.tokens import issued

CREDENTIALS = Table(
    singular="credential",
    plural="credentials",
    message=pb.Credential,
    service=Stub,
    extra="extra",
    fields=[
        Field("id", "meta.id"),
        Field("user_id", "user_id", write=BOTH, codec=Text(64), filter=True),
        Field("project_id", "meta.project_id", write=BOTH, codec=Text(64, nullable=True)),
        Field("type", "type", write=BOTH, required=True, codec=Text(255, min=1), filter=True),
        Field("blob", "blob", write=BOTH, required=True, codec=Text(65535)),
        links("credentials"),
    ],
)


def _ec2(credential: pb.Credential, request: Request) -> dict[str, JsonValue]:
    blob: Any = orjson.loads(credential.blob)
    own = f"{request.api_url}/v3/users/{credential.user_id}/credentials/OS-EC2/{blob['access']}"
    return {
        "user_id": credential.user_id,
        "tenant_id": credential.meta.project_id,
        "access": blob["access"],
        "secret": blob.get("secret"),
        "trust_id": blob.get("trust_id"),
        "links": {"self": own},
    }


async def create_ec2(request: Request) -> Response:
    project = request.json().get("tenant_id")
    if not isinstance(project, str):
        raise Invalid("'tenant_id' is a required property.", field="tenant_id")
    message = pb.CreateEc2CredentialRequest(user_id=request.params["user_id"], project_id=project)
    reply = await request.call(request.stub(Stub).CreateEc2Credential, message)
    return Response(201, {"credential": _ec2(reply, request)})


async def list_ec2(request: Request) -> Response:
    message = pb.ListEc2CredentialsRequest(user_id=request.params["user_id"])
    reply = await request.call(request.stub(Stub).ListEc2Credentials, message)
    items: list[JsonValue] = [_ec2(found, request) for found in reply.credentials]
    return Response(200, collection(request, "credentials", items))


async def show_ec2(request: Request) -> Response:
    message = pb.GetEc2CredentialRequest(**request.params)
    return Response(
        200, {"credential": _ec2(await request.call(request.stub(Stub).GetEc2Credential, message), request)}
    )


async def delete_ec2(request: Request) -> Response:
    message = pb.DeleteEc2CredentialRequest(**request.params)
    await request.call(request.stub(Stub).DeleteEc2Credential, message)
    return Response(204)


async def _signed(request: Request, names: tuple[str, ...], s3: bool) -> token_pb2.Token:
    body = request.json()
    asked = next((body[name] for name in names if isinstance(body.get(name), dict)), None)
    if not isinstance(asked, dict):
        raise Invalid(f"'{names[0]}' is a required property and must be an object.", field=names[0])
    for name in ("access", "signature"):
        if not isinstance(asked.get(name), str):
            raise Invalid(f"'{name}' is a required property and must be a string.", field=name)
    message = token_pb2.IssueSignedTokenRequest(
        access=str(asked["access"]),
        signature=str(asked["signature"]),
        credentials=orjson.dumps(asked),
        s3=s3,
    )
    return await request.call(request.stub(TokenServiceStub).IssueSignedToken, message)


async def ec2tokens(request: Request) -> Response:
    return issued(request, await _signed(request, ("ec2Credentials", "credentials"), s3=False), 200)


async def s3tokens(request: Request) -> Response:
    return issued(request, await _signed(request, ("credentials",), s3=True), 200)


_EC2 = "/v3/users/{user_id}/credentials/OS-EC2"

routes = [
    *crud(CREDENTIALS, "/v3", update="PATCH"),
    Route("POST", _EC2, create_ec2),
    Route("GET", _EC2, list_ec2),
    Route("GET", _EC2 + "/{access}", show_ec2),
    Route("DELETE", _EC2 + "/{access}", delete_ec2),
    Route("POST", "/v3/ec2tokens", ec2tokens),
    Route("POST", "/v3/s3tokens", s3tokens),
]
