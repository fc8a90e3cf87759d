"""The Placement API: who has how much of what, and who takes it."""

from gateway.core.dialect import Api
from gateway.core.discovery import ApiVersion
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


API = Api(
    name="placement",
    dialect=PlacementDialect(),
    microversions=VERSIONS,
    routes=[
        Route("GET", "/", versions, public=True),
        *(route for part in _PARTS for route in part.routes),
    ],
)
