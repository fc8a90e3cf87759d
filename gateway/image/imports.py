"""Image API v2, sections "Interoperable image import", "Tasks", "Stores" and "Quota usage"."""

from fabric.image.v1 import image_pb2 as pb
from fabric.image.v1 import task_pb2
from fabric.image.v1.image_pb2_grpc import ImageServiceStub
from fabric.image.v1.task_pb2_grpc import TaskServiceStub
from gateway.core.codec import Bool, Enum, Json, JsonValue, List, Text, Timestamp, to_value
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.image import images, patch
from gateway.image.images import IMPORT_METHODS, LOCATION

_PARAMETERS = {
    "uri": "uri",
    "glance_region": "source_region",
    "glance_image_id": "source_image_id",
    "glance_service_interface": "source_interface",
}
_TEXT, _WORDS, _BOOL = Text(2048), List(Text(255), max=100), Bool()

TASKS = Table(
    singular="task",
    plural="tasks",
    message=task_pb2.Task,
    service=TaskServiceStub,
    fields=[
        Field("id", "meta.id", sort=True),
        Field("type", "type", filter=True, sort=True),
        Field("status", "state", codec=Enum(task_pb2.Task.State, lower=True), filter=True, sort=True),
        Field("owner", "meta.project_id", filter=True),
        Field("message", "message"),
        Field("input", "input", codec=Json(nullable=True)),
        Field("result", "result", codec=Json(nullable=True)),
        Field("image_id", "image_id"),
        Field("request_id", "meta.request_id"),
        Field("user_id", "user_id"),
        Field("created_at", "meta.create_time", codec=Timestamp(), sort=True),
        Field("updated_at", "meta.update_time", codec=Timestamp(), sort=True),
        Field("expires_at", "expire_time", codec=Timestamp(), sort=True),
        Field("self", compute=lambda task, _: f"/v2/tasks/{task.meta.id}"),
        Field("schema", const="/v2/schemas/task"),
    ],
)
_BRIEF = ("id", "type", "status", "owner", "created_at", "updated_at", "expires_at", "self", "schema")


async def info_import(request: Request) -> Response:
    methods = {
        "description": "Import methods available.",
        "type": "array",
        "value": list(IMPORT_METHODS),
    }
    return Response(200, {"import-methods": methods})


async def info_stores(request: Request) -> Response:
    return Response(200, {"stores": await _stores(request, detail=False)})


async def info_stores_detail(request: Request) -> Response:
    return Response(200, {"stores": await _stores(request, detail=True)})


async def _stores(request: Request, *, detail: bool) -> list[JsonValue]:
    reply = await request.call(request.stub(ImageServiceStub).ListStores, pb.ListStoresRequest(detail=detail))
    stores: list[JsonValue] = []
    for store in reply.stores:
        item: dict[str, JsonValue] = {"id": store.id, "description": store.description}
        if store.default:
            item["default"] = "true"
        if store.read_only:
            item["read-only"] = "true"
        if detail:
            item |= {"type": "http" if store.read_only else "file", "weight": 0, "properties": {}}
        stores.append(item)
    return stores


async def info_usage(request: Request) -> Response:
    usage = await request.call(request.stub(ImageServiceStub).GetUsage, pb.GetUsageRequest())
    mib = 1 << 20
    return Response(
        200,
        {
            "usage": {
                "image_size_total": {"limit": -1, "usage": -(-usage.image_size_bytes // mib)},
                "image_stage_total": {"limit": -1, "usage": -(-usage.staged_bytes // mib)},
                "image_count_total": {"limit": usage.image_count_limit, "usage": usage.image_count},
                "image_count_uploading": {"limit": -1, "usage": usage.uploading_count},
            }
        },
    )


async def import_image(request: Request) -> Response:
    body = request.json()
    method = body.get("method")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise Invalid("Import request requires a 'name' field in its 'method'.", field="method")
    name = method["name"]
    if name not in IMPORT_METHODS:
        raise Invalid(f"Unknown import method name '{name[:64]}'.", field="method")
    asked = pb.ImportImageRequest(id=request.params["image_id"], method=name)
    for public, field in _PARAMETERS.items():
        if public in method:
            setattr(asked, field, _TEXT.from_json(method[public], public))
    if name == "web-download" and not asked.uri:
        raise Invalid("Import method 'web-download' requires a 'uri'.", field="uri")
    if name == "glance-download" and not (asked.source_region and asked.source_image_id):
        raise Invalid(
            "Import method 'glance-download' requires glance_region and glance_image_id.", field="method"
        )
    if body.get("stores") is not None:
        asked.stores.extend(_WORDS.from_json(body["stores"], "stores"))
    if body.get("all_stores") is not None:
        asked.all_stores = _BOOL.from_json(body["all_stores"], "all_stores")
    if not asked.stores and (store := request.headers.get("x-image-meta-store", "")):
        asked.stores.append(store)
    asked.request.CopyFrom(to_value(body, "body").struct_value)
    await request.call(request.stub(ImageServiceStub).ImportImage, asked)
    return Response(202)


async def image_tasks(request: Request) -> Response:
    asked = task_pb2.ListTasksRequest(image_id=request.params["image_id"])
    reply = await request.call(request.stub(TaskServiceStub).ListTasks, asked)
    return Response(200, {"tasks": TASKS.render_list(reply.tasks, request)})


async def list_tasks(request: Request) -> Response:
    dialect = request.api.dialect
    listing = dialect.listing(request, TASKS)
    asked = task_pb2.ListTasksRequest(query=listing.query)
    reply = await request.call(request.stub(TaskServiceStub).ListTasks, asked)
    items = TASKS.render_list(reply.tasks, request, fields=_BRIEF)
    return Response(200, dialect.page(request, TASKS, items, listing, reply.next_marker))


async def show_task(request: Request) -> Response:
    task = await request.call(
        request.stub(TaskServiceStub).GetTask, task_pb2.GetTaskRequest(id=request.params["task_id"])
    )
    return Response(200, TASKS.render(task, request))


async def create_task(request: Request) -> Response:
    """An import of a URL into a new image, the administrators' old way."""
    body = request.json()
    given = body.get("input")
    if body.get("type") != "import" or not isinstance(given, dict):
        raise Invalid("'type' must be 'import' and 'input' an object.", field="type")
    properties = given.get("image_properties") or {}
    if not isinstance(properties, dict):
        raise Invalid("'image_properties' must be an object.", field="image_properties")
    images.check_names(properties)
    images.check_properties(properties)
    asked = task_pb2.CreateTaskRequest(image=images.IMAGES.parse_create(properties, request))
    asked.uri = _TEXT.from_json(given.get("import_from"), "import_from")
    asked.input.CopyFrom(to_value(given, "input").struct_value)
    task = await request.call(request.stub(TaskServiceStub).CreateTask, asked)
    headers = {"location": f"{request.api_url}/v2/tasks/{task.meta.id}"}
    return Response(201, TASKS.render(task, request), headers)


async def delete_from_store(request: Request) -> Response:
    asked = pb.DeleteImageFromStoreRequest(id=request.params["image_id"], store=request.params["store"])
    await request.call(request.stub(ImageServiceStub).DeleteImageFromStore, asked)
    return Response(204)


async def list_locations(request: Request) -> Response:
    image = await images.get(request)
    return Response(200, [LOCATION.to_json(location) for location in image.view.locations])


async def add_location(request: Request) -> Response:
    location, declared = patch.location_of(request.json())
    asked = pb.AddImageLocationRequest(
        id=request.params["image_id"], location=location, declared=declared, with_task=True
    )
    await request.call(request.stub(ImageServiceStub).AddImageLocation, asked)
    return Response(202)


routes = [
    Route("GET", "/v2/info/import", info_import),
    Route("GET", "/v2/info/stores", info_stores),
    Route("GET", "/v2/info/stores/detail", info_stores_detail),
    Route("GET", "/v2/info/usage", info_usage),
    Route("POST", "/v2/images/{image_id}/import", import_image),
    Route("GET", "/v2/images/{image_id}/tasks", image_tasks),
    Route("GET", "/v2/images/{image_id}/locations", list_locations),
    Route("POST", "/v2/images/{image_id}/locations", add_location),
    Route("GET", "/v2/tasks", list_tasks),
    Route("POST", "/v2/tasks", create_task),
    Route("GET", "/v2/tasks/{task_id}", show_task),
    Route("DELETE", "/v2/stores/{store}/{image_id}", delete_from_store),
]
