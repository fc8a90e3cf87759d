"""Compute API, sections "Flavors", "Flavors access" and "Flavors extra-specs"."""

import uuid
from collections.abc import Callable

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.compute.v1 import flavor_pb2 as pb
from fabric.compute.v1.flavor_pb2_grpc import FlavorServiceStub
from fabric.type.v1.query_pb2 import Filter
from gateway.compute import body
from gateway.compute.links import links
from gateway.compute.reading import body_of, change, limit_of, marker_of, number_of, only_admins, page
from gateway.core.codec import Bool, JsonValue, Map, Number, Text
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table

_MOST = 2**31 - 1


def _swap(flavor: pb.Flavor, request: Request) -> int | str:
    return flavor.spec.swap_mib or (0 if request.microversion >= (2, 75) else "")


FLAVORS = Table(
    singular="flavor",
    plural="flavors",
    message=pb.Flavor,
    service=FlavorServiceStub,
    fields=[
        Field("id", "meta.id"),
        Field("name", "meta.name"),
        Field("description", "meta.description", codec=Text(65535, nullable=True), since="2.55"),
        Field("links", compute=lambda flavor, request: links(request, "flavors", flavor.meta.id)),
        Field("ram", "spec.ram_mib", codec=Number(), detail_only=True),
        Field("vcpus", "spec.vcpus", codec=Number(), detail_only=True),
        Field("disk", "spec.root_gb", codec=Number(), detail_only=True),
        Field("OS-FLV-EXT-DATA:ephemeral", "spec.ephemeral_gb", codec=Number(), detail_only=True),
        Field("swap", detail_only=True, compute=_swap),
        Field("rxtx_factor", "spec.rxtx_factor", codec=Number(), detail_only=True),
        Field("os-flavor-access:is_public", "spec.public", codec=Bool, detail_only=True),
        Field("OS-FLV-DISABLED:disabled", "spec.disabled", codec=Bool, detail_only=True),
        Field("extra_specs", "spec.extra_specs", codec=Map(), since="2.61", detail_only=True),
    ],
)
_SIZE, _EXTRA = body.integer(0, _MOST), body.text(255)
_KEY = r"[a-zA-Z0-9\-_:. ]{1,255}"
_SPECS = body.mapping(_EXTRA, key=_KEY)
_ID = body.maybe(body.either(body.text(255, 1, r"(?! )[a-zA-Z0-9. _\-]*(?<! )"), body.integer(0)))
_NEW = body.Obj(
    {
        "name": body.label(),
        "id": _ID,
        "ram": body.integer(1, _MOST),
        "vcpus": body.integer(1, _MOST),
        "disk": _SIZE,
        "OS-FLV-EXT-DATA:ephemeral": _SIZE,
        "swap": _SIZE,
        "rxtx_factor": body.number(1e-9),
        "os-flavor-access:is_public": body.boolean,
        "description": (body.maybe(body.text(65535)), "2.55", ""),
    },
    required=["name", "ram", "vcpus", "disk"],
)
_CHANGED = body.Obj({"description": body.maybe(body.text(65535))}, required=["description"])
_TENANT = body.Obj({"tenant": body.text(255, 1)}, required=["tenant"])
_SORTS = {
    "created_at": "meta.create_time",
    "description": "meta.description",
    "disabled": "spec.disabled",
    "ephemeral_gb": "spec.ephemeral_gb",
    "flavorid": "meta.id",
    "id": "meta.id",
    "is_public": "spec.public",
    "memory_mb": "spec.ram_mib",
    "name": "meta.name",
    "root_gb": "spec.root_gb",
    "rxtx_factor": "spec.rxtx_factor",
    "swap": "spec.swap_mib",
    "updated_at": "meta.update_time",
    "vcpu_weight": "meta.id",
    "vcpus": "spec.vcpus",
}


# -- flavors


async def _list(request: Request) -> list[pb.Flavor]:
    asked = pb.ListFlavorsRequest()
    query = asked.query
    query.limit, query.marker = limit_of(request), marker_of(request)
    key, direction = request.arg("sort_key", "flavorid"), request.arg("sort_dir", "asc")
    if key not in _SORTS:
        raise body.refuse("sort_key", key, f"{key[:40]!r} is not one of {sorted(_SORTS)}")
    if direction not in ("asc", "desc"):
        raise body.refuse("sort_dir", direction, f"{direction[:40]!r} is not one of ['asc', 'desc']")
    query.sorts.add(path=_SORTS[key], descending=direction == "desc")
    for name, path in (("minRam", "spec.ram_mib"), ("minDisk", "spec.root_gb")):
        least = _least(request, name)
        if least:
            query.filters.add(path=path, op=Filter.OP_GE, values=[str(least)])
    public = request.arg("is_public", "true").strip().lower()
    if public in ("false", "0", "f", "no", "off", "n"):
        query.filters.add(path="spec.public", values=["false"])
    elif public != "none":
        if public not in ("true", "1", "t", "yes", "on", "y", ""):
            raise Invalid(f"Invalid is_public filter [{public[:40]}]", field="is_public")
        if "is_public" in dict(request.query):
            query.filters.add(path="spec.public", values=["true"])
    if query.limit == 0:
        return []
    reply = await request.call(request.stub(FlavorServiceStub).ListFlavors, asked)
    return list(reply.flavors)


def _least(request: Request, name: str) -> int:
    try:
        return number_of(request, name) or 0
    except Invalid:
        what = f"Invalid {name} filter [{request.arg(name)[:40]}]"
        raise Invalid(what, field=name) from None


async def index(request: Request) -> Response:
    """Ids, names and links."""
    flavors = await _list(request)
    shown = FLAVORS.render_list(flavors, request, detail=False)
    return Response(200, page(request, "flavors", shown, [flavor.meta.id for flavor in flavors]))


async def detail(request: Request) -> Response:
    """With sizes."""
    flavors = await _list(request)
    shown = FLAVORS.render_list(flavors, request)
    return Response(200, page(request, "flavors", shown, [flavor.meta.id for flavor in flavors]))


async def _find(request: Request) -> pb.Flavor:
    asked = pb.GetFlavorRequest(id=request.params["flavor_id"])
    return await request.call(request.stub(FlavorServiceStub).GetFlavor, asked)


async def _write(request: Request, flavor: pb.Flavor, *paths: str) -> pb.Flavor:
    asked = pb.UpdateFlavorRequest(flavor=flavor, update_mask=FieldMask(paths=paths))
    return await request.call(request.stub(FlavorServiceStub).UpdateFlavor, asked)


async def _change(request: Request, path: str, changed: Callable[[pb.Flavor], None]) -> pb.Flavor:
    return await change(lambda: _find(request), lambda flavor: _write(request, flavor, path), changed)


async def show(request: Request) -> Response:
    """One."""
    return Response(200, {"flavor": FLAVORS.render(await _find(request), request)})


async def create(request: Request) -> Response:
    """Without an id (or with "auto") the cloud chooses one."""
    given = body_of(request, "flavor", _NEW)
    flavor = pb.Flavor()
    asked_id = given.get("id")
    flavor.meta.id = str(uuid.uuid4()) if asked_id in (None, "auto", "") else str(asked_id)
    flavor.meta.name, flavor.meta.description = given["name"], given.get("description") or ""
    spec = flavor.spec
    spec.ram_mib, spec.vcpus, spec.root_gb = given["ram"], given["vcpus"], given["disk"]
    spec.ephemeral_gb = given.get("OS-FLV-EXT-DATA:ephemeral", 0)
    spec.swap_mib = given.get("swap", 0)
    spec.rxtx_factor = given.get("rxtx_factor", 1.0)
    spec.public = given.get("os-flavor-access:is_public", True)
    made = await request.call(
        request.stub(FlavorServiceStub).CreateFlavor, pb.CreateFlavorRequest(flavor=flavor)
    )
    return Response(200, {"flavor": FLAVORS.render(made, request)})


async def update(request: Request) -> Response:
    """The description."""
    description = body_of(request, "flavor", _CHANGED)["description"] or ""
    flavor = pb.Flavor()
    flavor.meta.id, flavor.meta.description = request.params["flavor_id"], description
    changed = await _write(request, flavor, "meta.description")
    return Response(200, {"flavor": FLAVORS.render(changed, request)})


async def delete(request: Request) -> Response:
    """Servers keep what it said when they were made."""
    asked = pb.DeleteFlavorRequest(id=request.params["flavor_id"])
    await request.call(request.stub(FlavorServiceStub).DeleteFlavor, asked)
    return Response(202)


# -- extra specs


def _no_spec(flavor: pb.Flavor, key: str) -> Fault:
    text = f"Flavor {flavor.meta.id} has no extra specs with key {key[:64]}."
    return Fault(404, text, reason="EXTRA_SPEC_NOT_FOUND")


async def specs(request: Request) -> Response:
    """All."""
    return Response(200, {"extra_specs": dict((await _find(request)).spec.extra_specs)})


async def spec(request: Request) -> Response:
    """One."""
    flavor, key = await _find(request), request.params["key"]
    if key not in flavor.spec.extra_specs:
        raise _no_spec(flavor, key)
    return Response(200, {key: flavor.spec.extra_specs[key]})


def _texts(value: JsonValue, name: str, version: body.Version) -> dict[str, str]:
    if isinstance(value, dict):
        value = {
            key: str(inside) if isinstance(inside, int | float) and not isinstance(inside, bool) else inside
            for key, inside in value.items()
        }
    found: dict[str, str] = _SPECS(value, name, version)
    return found


async def add_specs(request: Request) -> Response:
    """Add and overwrite."""
    given = body_of(request, "extra_specs", _texts)
    await _change(request, "spec.extra_specs", lambda flavor: flavor.spec.extra_specs.update(given))
    return Response(200, {"extra_specs": given})


async def set_spec(request: Request) -> Response:
    """One, named twice."""
    given, key = _texts(request.json(), "body", request.microversion), request.params["key"]
    if len(given) != 1:
        raise Invalid("The body must hold exactly one extra spec.")
    if key not in given:
        raise Invalid("Request body and URI mismatch", field=key[:64])
    await _change(request, "spec.extra_specs", lambda flavor: flavor.spec.extra_specs.update(given))
    return Response(200, {key: given[key]})


async def delete_spec(request: Request) -> Response:
    """One."""
    key = request.params["key"]

    def changed(flavor: pb.Flavor) -> None:
        if key not in flavor.spec.extra_specs:
            raise _no_spec(flavor, key)
        del flavor.spec.extra_specs[key]

    await _change(request, "spec.extra_specs", changed)
    return Response(200)


# -- access


def _access(flavor: pb.Flavor) -> Response:
    id_ = flavor.meta.id
    entries: list[JsonValue] = [
        {"flavor_id": id_, "tenant_id": project} for project in flavor.spec.access_project_ids
    ]
    return Response(200, {"flavor_access": entries})


async def access(request: Request) -> Response:
    """Which projects may use a flavor that is not public."""
    await only_admins(request, "os-flavor-access")
    flavor = await _find(request)
    if flavor.spec.public:
        raise Fault(404, "Access list not available for public flavors.", reason="FLAVOR_IS_PUBLIC")
    return _access(flavor)


async def act(request: Request) -> Response:
    """addTenantAccess, removeTenantAccess."""
    rule = body.Obj({"addTenantAccess": _TENANT, "removeTenantAccess": _TENANT}, least=1)
    given = rule(request.json(), "body", request.microversion)
    await only_admins(request, "os-flavor-access:add_tenant_access")
    name, value = next(iter(given.items()))
    project = value["tenant"]

    def changed(flavor: pb.Flavor) -> None:
        projects, id_ = flavor.spec.access_project_ids, flavor.meta.id
        if flavor.spec.public and name == "addTenantAccess":
            raise Fault(409, "Can not add access to a public flavor.", reason="FLAVOR_IS_PUBLIC")
        if name == "addTenantAccess" and project in projects:
            text = f"Flavor access already exists for flavor {id_} and project {project} combination."
            raise Fault(409, text, reason="FLAVOR_ACCESS_EXISTS")
        if name == "addTenantAccess":
            projects.append(project)
        elif project in projects:
            projects.remove(project)
        else:
            text = f"Flavor access not found for {id_} / {project} combination."
            raise Fault(404, text, reason="FLAVOR_ACCESS_NOT_FOUND")

    return _access(await _change(request, "spec.access_project_ids", changed))


_ONE = "/v2.1/flavors/{flavor_id}"
_SPECS_PATH = f"{_ONE}/os-extra_specs"
routes = [
    Route("GET", "/v2.1/flavors", index),
    Route("POST", "/v2.1/flavors", create),
    Route("GET", "/v2.1/flavors/detail", detail),
    Route("GET", _ONE, show),
    Route("PUT", _ONE, update, since="2.55"),
    Route("DELETE", _ONE, delete),
    Route("POST", f"{_ONE}/action", act),
    Route("GET", f"{_ONE}/os-flavor-access", access),
    Route("GET", _SPECS_PATH, specs),
    Route("POST", _SPECS_PATH, add_specs),
    Route("GET", f"{_SPECS_PATH}/{{key}}", spec),
    Route("PUT", f"{_SPECS_PATH}/{{key}}", set_spec),
    Route("DELETE", f"{_SPECS_PATH}/{{key}}", delete_spec),
]
