"""Identity API v3, sections "Regions" and "Service catalog and endpoints"."""

from fabric.identity.v1 import catalog_pb2 as pb
from fabric.identity.v1.catalog_pb2_grpc import CatalogServiceStub
from gateway.core.codec import Bool, JsonValue, Text
from gateway.core.crud import Crud, crud
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.dialect import Blank
from gateway.identity.links import links
from gateway.identity.projects import BOTH

REGIONS = Table(
    singular="region",
    plural="regions",
    message=pb.Region,
    service=CatalogServiceStub,
    extra="extra",
    fields=[
        Field("id", "meta.id", write="create", codec=Text(255, nullable=True), filter=True, sort=True),
        Field("description", "meta.description", write=BOTH, codec=Blank(255), filter=True),
        Field(
            "parent_region_id",
            "spec.parent_region_id",
            write=BOTH,
            codec=Text(255, nullable=True),
            filter=True,
        ),
        links("regions"),
    ],
)

SERVICES = Table(
    singular="service",
    plural="services",
    message=pb.Service,
    service=CatalogServiceStub,
    extra="extra",
    fields=[
        Field("id", "meta.id", filter=True, sort=True),
        Field("name", "meta.name", write=BOTH, codec=Text(255), filter=True, sort=True),
        Field("type", "spec.type", write=BOTH, required=True, codec=Text(255, min=1), filter=True),
        Field("enabled", "spec.enabled", write=BOTH, codec=Bool(), default=True, filter=True),
        Field("description", "meta.description", write=BOTH, codec=Blank(), filter=True),
        links("services"),
    ],
)


def _region(endpoint: pb.Endpoint, request: Request) -> JsonValue:
    return endpoint.spec.region_id or None


ENDPOINTS = Table(
    singular="endpoint",
    plural="endpoints",
    message=pb.Endpoint,
    service=CatalogServiceStub,
    extra="extra",
    fields=[
        Field("id", "meta.id", filter=True, sort=True),
        Field("interface", "spec.interface", write=BOTH, required=True, codec=Text(8), filter=True),
        Field("region", compute=_region),
        Field("region_id", "spec.region_id", write=BOTH, codec=Text(255, nullable=True), filter=True),
        Field("service_id", "spec.service_id", write=BOTH, required=True, codec=Text(64), filter=True),
        Field(
            "url",
            "spec.url",
            write=BOTH,
            required=True,
            codec=Text(65535, min=1, pattern=r"[a-zA-Z0-9+.\-]+:.+"),
        ),
        Field("enabled", "spec.enabled", write=BOTH, codec=Bool(), default=True, filter=True),
        links("endpoints"),
    ],
)

_ENDPOINTS = Crud(ENDPOINTS)


async def put_region(request: Request) -> Response:
    """A region with the id of the path."""
    body = request.api.dialect.unwrap(REGIONS, request.json(), request)
    given = body.setdefault("id", request.params["id"])
    if given != request.params["id"]:
        raise Invalid("Conflicting region IDs specified.", field="id")
    message = REGIONS.parse_create(body, request)
    reply = await request.call(
        request.stub(CatalogServiceStub).CreateRegion, pb.CreateRegionRequest(region=message)
    )
    return Response(201, {"region": REGIONS.render(reply, request)})


async def _endpoint_body(request: Request) -> dict[str, JsonValue]:
    """The old attribute region makes the region, if need be."""
    body = request.api.dialect.unwrap(ENDPOINTS, request.json(), request)
    legacy = body.get("region")
    if isinstance(legacy, str) and legacy and not body.get("region_id"):
        stub = request.stub(CatalogServiceStub)
        listed = await request.call(stub.ListRegions, pb.ListRegionsRequest())
        if not any(region.meta.id == legacy for region in listed.regions):
            region = pb.Region()
            region.meta.id = Text(255).from_json(legacy, "region")
            await request.call(stub.CreateRegion, pb.CreateRegionRequest(region=region))
        body["region_id"] = legacy
    return body


async def create_endpoint(request: Request) -> Response:
    await _endpoint_body(request)
    return await _ENDPOINTS.create(request)


async def update_endpoint(request: Request) -> Response:
    await _endpoint_body(request)
    return await _ENDPOINTS.update(request)


routes = [
    *crud(REGIONS, "/v3", update="PATCH"),
    Route("PUT", "/v3/regions/{id}", put_region),
    *crud(SERVICES, "/v3", update="PATCH"),
    *crud(ENDPOINTS, "/v3", only="list show delete"),
    Route("POST", "/v3/endpoints", create_endpoint),
    Route("PATCH", "/v3/endpoints/{id}", update_endpoint),
]
