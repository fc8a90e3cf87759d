"""The Image API v2 (Glance)."""

from gateway.core.codec import JsonValue
from gateway.core.dialect import Api
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.image import data, images, imports, members, metadefs, patch, schemas
from gateway.image.dialect import ImageDialect

CURRENT = 17
OFFERED = (*range(14), *range(15, CURRENT + 1))  # 2.14 is of the cache API


def _versions(request: Request) -> list[JsonValue]:
    link = {"rel": "self", "href": f"{request.api_url}/v2/"}
    return [
        {"id": f"v2.{minor}", "status": "CURRENT" if minor == CURRENT else "SUPPORTED", "links": [link]}
        for minor in reversed(OFFERED)
    ]


async def choices(request: Request) -> Response:
    return Response(300, {"versions": _versions(request)})


async def versions(request: Request) -> Response:
    return Response(200, {"versions": _versions(request)})


API = Api(
    name="image",
    dialect=ImageDialect(),
    routes=[
        Route("GET", "/", choices, public=True),
        Route("GET", "/versions", versions, public=True),
        Route("GET", "/v2", choices, public=True),
        *images.routes,
        *patch.routes,
        *data.routes,
        *members.routes,
        *imports.routes,
        *schemas.routes,
        *metadefs.routes,
    ],
)
