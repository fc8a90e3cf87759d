"""The Identity API v3 (Keystone)."""

from gateway.core.codec import JsonValue
from gateway.core.dialect import Api
from gateway.core.discovery import ApiVersion
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.identity import (
    application_credentials,
    catalog,
    credentials,
    domain_configs,
    endpoint_filter,
    groups,
    limits,
    oauth,
    policies,
    projects,
    roles,
    tokens,
    trusts,
    users,
)
from gateway.identity.dialect import IdentityDialect

V3 = ApiVersion(
    "v3.14",
    "v3/",
    status="stable",
    updated="2020-04-07T00:00:00Z",
    media_type="application/vnd.openstack.identity-v3+json",
)


async def versions(request: Request) -> Response:
    values: list[JsonValue] = [V3.document(request)]
    return Response(
        300, {"versions": {"values": values}}, {"vary": "X-Auth-Token", "location": f"{request.api_url}/v3/"}
    )


async def version(request: Request) -> Response:
    return Response(200, {"version": V3.document(request)}, {"vary": "X-Auth-Token"})


API = Api(
    name="identity",
    dialect=IdentityDialect(),
    routes=[
        Route("GET", "/", versions, public=True),
        Route("GET", "/v3", version, public=True),
        *tokens.routes,
        *projects.routes,
        *users.routes,
        *groups.routes,
        *roles.routes,
        *catalog.routes,
        *application_credentials.routes,
        *trusts.routes,
        *credentials.routes,
        *policies.routes,
        *limits.routes,
        *endpoint_filter.routes,
        *domain_configs.routes,
        *oauth.routes,
    ],
)
