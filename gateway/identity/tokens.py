"""Identity API v3, section "Authentication and token management"."""

from fabric.identity.v1 import token_pb2 as pb
from fabric.identity.v1.token_pb2_grpc import TokenServiceStub
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault
from gateway.core.http import MAX_TOKEN_BYTES, Request, Response
from gateway.core.route import Route
from gateway.identity import auth_body
from gateway.identity.dialect import collection, own_url
from gateway.identity.projects import DOMAINS, PROJECTS
from gateway.identity.validation import Validations

_VARY = {"vary": "X-Auth-Token"}
_VALIDATIONS = Validations()


async def issue(request: Request) -> Response:
    return issued(
        request, await request.call(request.stub(TokenServiceStub).IssueToken, auth_body.parse(request))
    )


def issued(request: Request, token: pb.Token, status: int = 201) -> Response:
    """The answer that hands a token out."""
    return _document(status, request.shown_here(token.document), token.id)


def _document(status: int, document: bytes, token: str) -> Response:
    headers = {**_VARY, "content-type": "application/json", "x-subject-token": token}
    return Response(status, document, headers)


async def validate(request: Request) -> Response:
    subject = _subject(request)
    names = dict(request.query)
    item = pb.ValidateTokensRequest.Item(
        token=request.token,
        subject=subject,
        allow_expired=names.get("allow_expired", "").lower() in ("1", "true", "yes"),
        without_catalog="nocatalog" in names,
        access_rules=request.headers.get("openstack-identity-access-rules", "")[:16],
    )
    result = await _VALIDATIONS.ask(request, item)
    request.user_id = result.user_id
    return _document(200, request.shown_here(result.document), subject)


async def revoke(request: Request) -> Response:
    message = pb.RevokeTokenRequest(subject=_subject(request))
    await request.call(request.stub(TokenServiceStub).RevokeToken, message)
    return Response(204, None, _VARY)


def _subject(request: Request) -> str:
    token = request.headers.get("x-subject-token", "")
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or not token.isprintable():
        raise Fault(404, "No token in the request" if not token else "Could not find token.")
    return token


async def catalog(request: Request) -> Response:
    reply = await request.call(request.stub(TokenServiceStub).GetCatalog, pb.GetCatalogRequest())
    links = b'{"next":null,"previous":null,"self":"%s"}' % own_url(request).split("?")[0].encode()
    body = b'{"catalog":' + request.shown_here(reply.document) + b',"links":' + links + b"}"
    return Response(200, body, {"content-type": "application/json"})


async def _scopes(request: Request) -> pb.ListScopesResponse:
    return await request.call(request.stub(TokenServiceStub).ListScopes, pb.ListScopesRequest())


async def projects(request: Request) -> Response:
    found = (await _scopes(request)).projects
    return Response(200, collection(request, "projects", PROJECTS.render_list(found, request)))


async def domains(request: Request) -> Response:
    found = (await _scopes(request)).domains
    return Response(200, collection(request, "domains", DOMAINS.render_list(found, request)))


async def system(request: Request) -> Response:
    items: list[JsonValue] = [{"all": True}] if (await _scopes(request)).system else []
    return Response(200, collection(request, "system", items))


routes = [
    Route("POST", "/v3/auth/tokens", issue, public=True),
    Route("GET", "/v3/auth/tokens", validate),
    Route("DELETE", "/v3/auth/tokens", revoke),
    Route("GET", "/v3/auth/catalog", catalog),
    Route("GET", "/v3/auth/projects", projects),
    Route("GET", "/v3/auth/domains", domains),
    Route("GET", "/v3/auth/system", system),
    Route("GET", "/v3/OS-FEDERATION/projects", projects),
    Route("GET", "/v3/OS-FEDERATION/domains", domains),
]
