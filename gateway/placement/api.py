"""The Placement API: who has how much of what, and who takes it."""

import dataclasses
from email.utils import formatdate

from gateway.core.dialect import Api
from gateway.core.discovery import ApiVersion
from gateway.core.fault import Fault
from gateway.core.http import Request, Response
from gateway.core.microversion import Microversions
from gateway.core.route import Route
from gateway.placement import allocations, candidates, inventories, provider_parts, resource_providers, words
from gateway.placement.dialect import PlacementDialect

VERSIONS = Microversions("placement", "1.0", "1.39")
_PARTS = (resource_providers, inventories, provider_parts, allocations, candidates, words)


async def versions(request: Request) -> Response:
    """One, with microversions."""
    version = ApiVersion("v1.0", "", minimum=VERSIONS.minimum, maximum=VERSIONS.maximum)
    document = version.document(request)
    document["max_version"] = document.pop("version")
    return Response(200, {"versions": [document]})


def _answering(route: Route) -> Route:
    """What is read is JSON or nothing, and since 1.15 what is answered is not to be cached."""
    if route.method not in ("GET", "PUT"):
        return route

    async def handler(request: Request) -> Response:
        if route.method == "GET" and not _takes_json(request.headers.get("accept", "")):
            raise Fault(406, "Only application/json is provided")
        response = await route.handler(request)
        told = route.method == "GET" or response.body is not None
        if told and request.microversion >= (1, 15):
            response.headers |= {"cache-control": "no-cache", "last-modified": formatdate(usegmt=True)}
        return response

    return dataclasses.replace(route, handler=handler)


def _takes_json(accept: str) -> bool:
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return any(kind in ("", "*/*", "application/*", "application/json") for kind in kinds)


API = Api(
    name="placement",
    dialect=PlacementDialect(),
    microversions=VERSIONS,
    routes=[
        _answering(Route("GET", "/", versions, public=True)),
        *(_answering(route) for part in _PARTS for route in part.routes),
    ],
)
