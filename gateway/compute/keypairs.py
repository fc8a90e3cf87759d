"""Compute API, section "Keypairs"."""

from fabric.compute.v1 import keypair_pb2 as pb
from fabric.compute.v1.keypair_pb2_grpc import KeypairServiceStub
from gateway.compute import body
from gateway.compute.reading import body_of, limit_of, marker_of, page
from gateway.core.codec import Timestamp
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table

KEYPAIRS = Table(
    singular="keypair",
    plural="keypairs",
    message=pb.Keypair,
    service=KeypairServiceStub,
    fields=[
        Field("name", "meta.name"),
        Field("public_key", "public_key"),
        Field("fingerprint", "fingerprint"),
        Field("type", "type", since="2.2"),
        Field("user_id", "user_id", detail_only=True),
        Field("created_at", "meta.create_time", codec=Timestamp("nova"), detail_only=True),
        Field("id", const=0, detail_only=True),
        Field("deleted", const=False, detail_only=True),
        Field("deleted_at", const=None, detail_only=True),
        Field("updated_at", const=None, detail_only=True),
    ],
)
_TYPE = body.word("ssh", "x509")
_OLD_NAME, _NEW_NAME = body.text(255, 1), body.text(255, 1, r"[A-Za-z0-9 _\-@.]+")
_KEYPAIR = body.Obj(
    {
        "name": (_OLD_NAME, "2.1", "2.91"),
        "name ": (_NEW_NAME, "2.92", ""),
        "public_key": body.text(65535, 1),
        "type": (_TYPE, "2.2", ""),
        "user_id": (body.text(255), "2.10", ""),
    },
    required=["name"],
)


async def create(request: Request) -> Response:
    """With a public key it is imported; without one it is made, and the private key told this once."""
    given = body_of(request, "keypair", _KEYPAIR)
    if request.microversion >= (2, 92) and "public_key" not in given:
        raise body.refuse("keypair", {}, "'public_key' is a required property")
    if not given.get("public_key", "x").strip():
        raise body.refuse("public_key", given["public_key"], "Keypair data is invalid: the key is empty")
    keypair = pb.Keypair(
        user_id=given.get("user_id", ""),
        type=given.get("type", "ssh"),
        public_key=given.get("public_key", ""),
    )
    keypair.meta.name = given["name"]
    reply = await request.call(
        request.stub(KeypairServiceStub).CreateKeypair, pb.CreateKeypairRequest(keypair=keypair)
    )
    shown = KEYPAIRS.render(reply.keypair, request, detail=False)
    shown["user_id"] = reply.keypair.user_id
    if reply.private_key:
        shown["private_key"] = reply.private_key
    return Response(201 if request.microversion >= (2, 2) else 200, {"keypair": shown})


def _user(request: Request) -> str:
    return request.arg("user_id") if request.microversion >= (2, 10) else ""


async def show(request: Request) -> Response:
    """Of the caller, or of ?user_id= for administrators."""
    asked = pb.GetKeypairRequest(name=request.params["name"], user_id=_user(request))
    reply = await request.call(request.stub(KeypairServiceStub).GetKeypair, asked)
    return Response(200, {"keypair": KEYPAIRS.render(reply, request)})


async def index(request: Request) -> Response:
    """All of a user, by name."""
    asked = pb.ListKeypairsRequest(user_id=_user(request))
    asked.query.sorts.add(path="meta.name")
    paged = request.microversion >= (2, 35)
    if paged:
        asked.query.limit, asked.query.marker = limit_of(request), marker_of(request)
    reply = await request.call(request.stub(KeypairServiceStub).ListKeypairs, asked)
    items = KEYPAIRS.render_list(reply.keypairs, request, detail=False)
    shown = [{"keypair": item} for item in items]
    if not paged:
        return Response(200, {"keypairs": shown})
    return Response(200, page(request, "keypairs", shown, [keypair.meta.name for keypair in reply.keypairs]))


async def delete(request: Request) -> Response:
    """By name."""
    asked = pb.DeleteKeypairRequest(name=request.params["name"], user_id=_user(request))
    await request.call(request.stub(KeypairServiceStub).DeleteKeypair, asked)
    return Response(204 if request.microversion >= (2, 2) else 202)


routes = [
    Route("GET", "/v2.1/os-keypairs", index),
    Route("POST", "/v2.1/os-keypairs", create),
    Route("GET", "/v2.1/os-keypairs/{name}", show),
    Route("DELETE", "/v2.1/os-keypairs/{name}", delete),
]
