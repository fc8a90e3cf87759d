"""Identity API v3, extension OS-OAUTH1: consumers; and OS-REVOKE: revocation events."""

from fabric.identity.v1 import oauth_pb2 as pb
from fabric.identity.v1 import token_pb2
from fabric.identity.v1.oauth_pb2_grpc import OauthServiceStub as Stub
from fabric.identity.v1.token_pb2_grpc import TokenServiceStub
from gateway.core.codec import JsonValue, Text, Timestamp
from gateway.core.crud import crud
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import collection
from gateway.identity.projects import BOTH


def _self(consumer: pb.Consumer, request: Request) -> JsonValue:
    return {"self": f"{request.api_url}/v3/OS-OAUTH1/consumers/{consumer.meta.id}"}


CONSUMERS = Table(
    singular="consumer",
    plural="consumers",
    message=pb.Consumer,
    service=Stub,
    extra="extra",
    fields=[
        Field("id", "meta.id"),
        Field("description", "meta.description", write=BOTH, codec=Text(65535, nullable=True)),
        Field("secret", read=False, write=""),
        Field("links", compute=_self),
    ],
)


async def create(request: Request) -> Response:
    """The secret is told once."""
    body = request.api.dialect.unwrap(CONSUMERS, request.json(), request)
    message = pb.CreateConsumerRequest(consumer=CONSUMERS.parse_create(body, request))
    reply = await request.call(request.stub(Stub).CreateConsumer, message)
    return Response(201, {"consumer": CONSUMERS.render(reply, request) | {"secret": reply.secret}})


async def events(request: Request) -> Response:
    message = token_pb2.ListRevocationsRequest(since=request.arg("since"))
    reply = await request.call(request.stub(TokenServiceStub).ListRevocations, message)
    stamp = Timestamp("micro")
    items: list[JsonValue] = [
        {
            "audit_chain_id" if event.chain else "audit_id": event.meta.id,
            "issued_before": stamp.to_json(event.issued_before),
        }
        for event in reply.revocations
    ]
    return Response(200, collection(request, "events", items))


routes = [
    *crud(CONSUMERS, "/v3/OS-OAUTH1", only="list show update delete", update="PATCH"),
    Route("POST", "/v3/OS-OAUTH1/consumers", create),
    Route("GET", "/v3/OS-REVOKE/events", events),
]
