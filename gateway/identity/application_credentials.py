"""Identity API v3, sections "Application credentials" and "Access rules"."""

from typing import Any

from fabric.identity.v1 import application_credential_pb2 as pb
from fabric.identity.v1.application_credential_pb2_grpc import ApplicationCredentialServiceStub as Stub
from gateway.core.codec import Bool, JsonValue, List, Text, Timestamp
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Object, Table
from gateway.identity.dialect import collection

_ROLE = Object(
    pb.RoleReference,
    [
        Field("id", "id", write="create", codec=Text(64)),
        Field("name", "name", write="create"),
        Field("domain_id", "domain_id", write="create", codec=Text(64, nullable=True)),
    ],
)
_METHOD = Text(16, pattern="POST|GET|HEAD|PATCH|PUT|DELETE")
_RULE = Object(
    pb.AccessRule,
    [
        Field("id", "meta.id", write="create", codec=Text(64)),
        Field("service", "service", write="create"),
        Field("method", "method", write="create", codec=_METHOD),
        Field("path", "path", write="create", codec=Text(128)),
    ],
)


def _self(message: pb.ApplicationCredential, request: Request) -> JsonValue:
    user = request.params["user_id"]
    return {"self": f"{request.api_url}/v3/users/{user}/application_credentials/{message.meta.id}"}


class _Credentials(Table):
    """access_rules and secret are shown where there are any."""

    def render_list(self, messages: Any, request: Request, **options: Any) -> list[dict[str, JsonValue]]:
        messages = list(messages)
        items = super().render_list(messages, request, **options)
        for message, item in zip(messages, items, strict=True):
            if not message.restricts:
                item.pop("access_rules", None)
            if message.secret:
                item["secret"] = message.secret
        return items


CREDENTIALS = _Credentials(
    singular="application_credential",
    plural="application_credentials",
    message=pb.ApplicationCredential,
    service=Stub,
    fields=[
        Field("id", "meta.id"),
        Field("name", "meta.name", write="create", required=True, codec=Text(255, min=1), filter=True),
        Field("description", "meta.description", write="create", codec=Text(65535, nullable=True)),
        Field("project_id", "meta.project_id"),
        Field("user_id", "user_id"),
        Field("system", const=None),
        Field("roles", "roles", write="create", codec=List(_ROLE)),
        Field("expires_at", "expire_time", write="create", codec=Timestamp("nova")),
        Field("unrestricted", "unrestricted", write="create", codec=Bool(nullable=True)),
        Field("access_rules", "access_rules", write="create", codec=List(_RULE)),
        Field("secret", "secret", write="create", read=False, codec=Text(4096, nullable=True)),
        Field("links", compute=_self),
    ],
)


def _rule_self(message: pb.AccessRule, request: Request) -> JsonValue:
    user = request.params["user_id"]
    return {"self": f"{request.api_url}/v3/users/{user}/access_rules/{message.meta.id}"}


RULES = Table(
    singular="access_rule",
    plural="access_rules",
    message=pb.AccessRule,
    service=Stub,
    fields=[
        Field("id", "meta.id"),
        Field("service", "service", filter=True),
        Field("method", "method", filter=True),
        Field("path", "path", filter=True),
        Field("links", compute=_rule_self),
    ],
)


async def create(request: Request) -> Response:
    body = dict(request.api.dialect.unwrap(CREDENTIALS, request.json(), request))
    body.pop("project_id", None)
    message = CREDENTIALS.parse_create(body, request)
    for rule in message.access_rules:
        if not rule.meta.id and not (rule.service and rule.method and rule.path):
            raise Invalid("An access rule has an id, or service, method and path.", field="access_rules")
    for role in message.roles:
        if not role.id and not role.name:
            raise Invalid("A role has an id or a name.", field="roles")
    message.user_id = request.params["user_id"]
    message.restricts = body.get("access_rules") is not None
    reply = await request.call(
        request.stub(Stub).CreateApplicationCredential,
        pb.CreateApplicationCredentialRequest(application_credential=message),
    )
    return Response(201, {"application_credential": CREDENTIALS.render(reply, request)})


async def show(request: Request) -> Response:
    message = pb.GetApplicationCredentialRequest(**request.params)
    reply = await request.call(request.stub(Stub).GetApplicationCredential, message)
    return Response(200, {"application_credential": CREDENTIALS.render(reply, request)})


async def listing(request: Request) -> Response:
    message = pb.ListApplicationCredentialsRequest(
        user_id=request.params["user_id"], query=request.api.dialect.listing(request, CREDENTIALS).query
    )
    reply = await request.call(request.stub(Stub).ListApplicationCredentials, message)
    items = CREDENTIALS.render_list(reply.application_credentials, request)
    return Response(200, collection(request, "application_credentials", items))


async def delete(request: Request) -> Response:
    message = pb.DeleteApplicationCredentialRequest(**request.params)
    await request.call(request.stub(Stub).DeleteApplicationCredential, message)
    return Response(204)


async def show_rule(request: Request) -> Response:
    message = pb.GetAccessRuleRequest(**request.params)
    reply = await request.call(request.stub(Stub).GetAccessRule, message)
    return Response(200, {"access_rule": RULES.render(reply, request)})


async def list_rules(request: Request) -> Response:
    message = pb.ListAccessRulesRequest(
        user_id=request.params["user_id"], query=request.api.dialect.listing(request, RULES).query
    )
    reply = await request.call(request.stub(Stub).ListAccessRules, message)
    return Response(200, collection(request, "access_rules", RULES.render_list(reply.access_rules, request)))


async def delete_rule(request: Request) -> Response:
    await request.call(request.stub(Stub).DeleteAccessRule, pb.DeleteAccessRuleRequest(**request.params))
    return Response(204)


_PATH = "/v3/users/{user_id}/application_credentials"
_RULES = "/v3/users/{user_id}/access_rules"

routes = [
    Route("POST", _PATH, create),
    Route("GET", _PATH, listing),
    Route("GET", _PATH + "/{id}", show),
    Route("DELETE", _PATH + "/{id}", delete),
    Route("GET", _RULES, list_rules),
    Route("GET", _RULES + "/{id}", show_rule),
    Route("DELETE", _RULES + "/{id}", delete_rule),
]
