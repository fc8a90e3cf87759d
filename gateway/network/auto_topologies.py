"""Networking API v2.0, section "Auto allocated topologies"."""

from fabric.network.v1 import auto_allocated_topology_pb2 as pb
from fabric.network.v1.auto_allocated_topology_pb2_grpc import AutoAllocatedTopologyServiceStub
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.network.resource import PREFIX


async def show(request: Request) -> Response:
    fields = request.args("fields")
    asked = pb.GetAutoAllocatedTopologyRequest(project_id=_project(request), dry_run="dry-run" in fields)
    stub = request.stub(AutoAllocatedTopologyServiceStub)
    found = await request.call(stub.GetAutoAllocatedTopology, asked)
    document = {
        "id": found.network_id or "dry-run=pass",
        "project_id": found.meta.project_id,
        "tenant_id": found.meta.project_id,
    }
    wanted = set(fields) - {"dry-run"}
    shown = {name: value for name, value in document.items() if not wanted or name in wanted}
    return Response(200, {"auto_allocated_topology": shown})


async def delete(request: Request) -> Response:
    asked = pb.DeleteAutoAllocatedTopologyRequest(project_id=_project(request))
    stub = request.stub(AutoAllocatedTopologyServiceStub)
    await request.call(stub.DeleteAutoAllocatedTopology, asked)
    return Response(204)


def _project(request: Request) -> str:
    """Clients that do not know their project ask for None."""
    project_id = request.params["project_id"]
    return "" if project_id in ("None", "null") else project_id


_ITEM = f"{PREFIX}/auto-allocated-topology/{{project_id}}"
routes = [Route("GET", _ITEM, show), Route("DELETE", _ITEM, delete)]
