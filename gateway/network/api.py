"""The Networking API v2.0 (Neutron)."""

from gateway.core.dialect import Api
from gateway.core.discovery import ApiVersion
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network import networks, ports, security_groups, subnets
from gateway.network.dialect import NetworkDialect

V2 = ApiVersion("v2.0", "v2.0/")
RESOURCES = {"network": "networks", "subnet": "subnets", "port": "ports"}


async def versions(request: Request) -> Response:
    return Response(200, {"versions": [V2.document(request)]})


async def resources(request: Request) -> Response:
    links = [
        {
            "links": [{"rel": "self", "href": f"{request.api_url}/v2.0/{plural}"}],
            "name": singular,
            "collection": plural,
        }
        for singular, plural in RESOURCES.items()
    ]
    return Response(200, {"resources": links})


API = Api(
    name="network",
    dialect=NetworkDialect(),
    routes=[
        Route("GET", "/", versions, public=True),
        Route("GET", "/v2.0", resources, public=True),
        *networks.routes,
        *subnets.routes,
        *ports.routes,
        *security_groups.routes,
    ],
)
