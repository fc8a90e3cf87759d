"""The Compute API v2.1 (Nova) with microversions."""

from gateway.compute import flavors, keypairs, servers
from gateway.compute.dialect import ComputeDialect
from gateway.core.dialect import Api
from gateway.core.discovery import ApiVersion
from gateway.core.http import Request, Response
from gateway.core.microversion import Microversions
from gateway.core.route import Route

VERSIONS = Microversions("compute", "2.1", "2.96", legacy="x-openstack-nova-api-version")
V21 = ApiVersion(
    "v2.1",
    "v2.1/",
    updated="2013-07-23T11:33:21Z",
    minimum=VERSIONS.minimum,
    maximum=VERSIONS.maximum,
    media_type="application/vnd.openstack.compute+json;version=2.1",
)


async def versions(request: Request) -> Response:
    """All versions: one."""
    return Response(200, {"versions": [V21.document(request)]})


async def version(request: Request) -> Response:
    """That one."""
    return Response(200, {"version": V21.document(request)})


API = Api(
    name="compute",
    dialect=ComputeDialect(),
    microversions=VERSIONS,
    routes=[
        Route("GET", "/", versions, public=True),
        Route("GET", "/v2.1", version, public=True),
        *flavors.routes,
        *keypairs.routes,
        *servers.routes,
    ],
)
