"""Compute API, section "Keypairs"."""

from fabric.compute.v1 import keypair_pb2 as pb
from fabric.compute.v1.keypair_pb2_grpc import KeypairServiceStub
from gateway.core.codec import Text, Timestamp
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table

KEYPAIRS = Table(
    singular="keypair",
    plural="keypairs",
    message=pb.Keypair,
    service=KeypairServiceStub,
    fields=[
        Field("name", "meta.name", write="create", required=True, codec=Text(255, min=1)),
        Field("public_key", "public_key", write="create", codec=Text(65535)),
        Field("fingerprint", "fingerprint"),
        Field("type", "type", write="create", codec=Text(16), since="2.2"),
        Field("user_id", "user_id", write="create", codec=Text(255), since="2.10", read=False),
        Field("user_id", "user_id", detail_only=True),
        Field("created_at", "meta.create_time", codec=Timestamp("micro"), detail_only=True),
        Field("id", const=0, detail_only=True),
        Field("deleted", const=False, detail_only=True),
        Field("deleted_at", const=None, detail_only=True),
        Field("updated_at", const=None, detail_only=True),
    ],
)


async def create(request: Request) -> Response:
    """With a public key it is imported; without one it is made, and the private key told this once."""
    message = KEYPAIRS.parse_create(request.api.dialect.unwrap(KEYPAIRS, request.json(), request), request)
    reply = await request.call(
        request.stub(KeypairServiceStub).CreateKeypair, pb.CreateKeypairRequest(keypair=message)
    )
    body = KEYPAIRS.render(reply.keypair, request, detail=False)
    body["user_id"] = reply.keypair.user_id
    if reply.private_key:
        body["private_key"] = reply.private_key
    return Response(201 if request.microversion >= (2, 2) else 200, {"keypair": body})


async def show(request: Request) -> Response:
    """Of the caller, or of ?user_id= for administrators."""
    asked = pb.GetKeypairRequest(name=request.params["name"], user_id=request.arg("user_id"))
    reply = await request.call(request.stub(KeypairServiceStub).GetKeypair, asked)
    return Response(200, {"keypair": KEYPAIRS.render(reply, request)})


async def index(request: Request) -> Response:
    """All of a user."""
    asked = pb.ListKeypairsRequest(user_id=request.arg("user_id"))
    reply = await request.call(request.stub(KeypairServiceStub).ListKeypairs, asked)
    items = KEYPAIRS.render_list(reply.keypairs, request, detail=False)
    return Response(200, {"keypairs": [{"keypair": item} for item in items]})


async def delete(request: Request) -> Response:
    """By name."""
    asked = pb.DeleteKeypairRequest(name=request.params["name"], user_id=request.arg("user_id"))
    await request.call(request.stub(KeypairServiceStub).DeleteKeypair, asked)
    return Response(204 if request.microversion >= (2, 2) else 202)


routes = [
    Route("GET", "/v2.1/os-keypairs", index),
    Route("POST", "/v2.1/os-keypairs", create),
    Route("GET", "/v2.1/os-keypairs/{name}", show),
    Route("DELETE", "/v2.1/os-keypairs/{name}", delete),
]
