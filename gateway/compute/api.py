"""The Compute API v2.1 (Nova) with microversions."""

import dataclasses

from gateway.compute import (
    aggregates,
    audit,
    console_socket,
    consoles,
    extensions,
    flavors,
    floating_ips,
    hypervisors,
    images,
    keypairs,
    migrations,
    networks,
    quotas,
    security_groups,
    server_action,
    server_create,
    server_groups,
    server_history,
    server_interface,
    server_metadata,
    server_migrations,
    server_parts,
    servers,
    services,
    usage,
    zones,
)
from gateway.compute.dialect import ComputeDialect
from gateway.core.codec import JsonValue
from gateway.core.dialect import Api
from gateway.core.http import Request, Response
from gateway.core.microversion import Microversions
from gateway.core.route import Route

VERSIONS = Microversions("compute", "2.1", "2.96", legacy="x-openstack-nova-api-version")
_PARTS = (
    servers, server_create, server_action, server_metadata, server_interface, server_history, server_migrations,
    server_parts, server_groups, flavors, keypairs, quotas, zones, aggregates, hypervisors, services, usage, extensions,
    migrations, images, networks, security_groups, floating_ips, audit, consoles,
)  # fmt: skip


def _document(request: Request, *, old: bool, alone: bool) -> dict[str, JsonValue]:
    id_ = "v2.0" if old else "v2.1"
    path = "v2" if old else "v2.1"
    media = f"application/vnd.openstack.compute+json;version={id_[1:]}"
    document: dict[str, JsonValue] = {
        "id": id_,
        "status": "SUPPORTED" if old else "CURRENT",
        "version": "" if old else VERSIONS.maximum,
        "min_version": "" if old else VERSIONS.minimum,
        "updated": "2011-01-21T11:33:21Z" if old else "2013-07-23T11:33:21Z",
        "links": [{"rel": "self", "href": f"{request.api_url}/{path}/"}],
    }
    if alone:
        document["links"].append(
            {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}
        )
        document["media-types"] = [{"base": "application/json", "type": media}]
    return document


async def versions(request: Request) -> Response:
    """Both: v2.0 is v2.1 without microversions."""
    found = [_document(request, old=old, alone=False) for old in (True, False)]
    return Response(200, {"versions": found})


async def version(request: Request) -> Response:
    """v2.1."""
    return Response(200, {"version": _document(request, old=False, alone=True)})


async def old_version(request: Request) -> Response:
    """v2.0."""
    return Response(200, {"version": _document(request, old=True, alone=True)})


def _old(route: Route) -> Route:
    """The same below /v2."""
    return dataclasses.replace(route, path="/v2" + route.path.removeprefix("/v2.1"))


_ROUTES = [route for part in _PARTS for route in part.routes]

API = Api(
    name="compute",
    dialect=ComputeDialect(),
    microversions=VERSIONS,
    routes=[
        Route("GET", "/", versions, public=True),
        Route("GET", "/v2.1", version, public=True),
        Route("GET", "/v2", old_version, public=True),
        consoles.PAGE,
        *_ROUTES,
        *[_old(route) for route in _ROUTES if not route.since],
    ],
    sockets={console_socket.PATH: console_socket.serve},
)
