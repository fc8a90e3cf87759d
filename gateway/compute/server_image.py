"""Compute API, section "Servers - run an action": createImage and createBackup."""

from collections.abc import Mapping
from typing import Any

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute import body
from gateway.compute.acting import Known
from gateway.core.http import Request, Response

_MOST = 2**31 - 1


async def _create_image(request: Request, value: Any) -> Response:
    asked = pb.ActOnServerRequest.CreateImage(name=value["name"], metadata=value.get("metadata"))
    return await _run(request, pb.ActOnServerRequest(create_image=asked))


async def _create_backup(request: Request, value: Any) -> Response:
    rotation = pb.Rotation(backup_type=value["backup_type"], kept=value["rotation"])
    asked = pb.ActOnServerRequest.CreateBackup(
        name=value["name"], metadata=value.get("metadata"), rotation=rotation
    )
    response = await _run(request, pb.ActOnServerRequest(create_backup=asked))
    return response if response.body or rotation.kept else Response(202)  # it goes at once


async def _run(request: Request, asked: pb.ActOnServerRequest) -> Response:
    asked.id = request.params["server_id"]
    server = await request.call(request.stub(ServerServiceStub).ActOnServer, asked)
    image_id = server.snapshot.image_id
    if request.microversion >= (2, 45):
        return Response(202, {"image_id": image_id})
    return Response(202, None, {"location": f"{request.base_url}/image/v2/images/{image_id}"})


ACTIONS: Mapping[str, Known] = {
    "createImage": (
        _create_image,
        body.Obj({"name": body.label(), "metadata": body.METADATA}, required=["name"]),
        "",
        "",
    ),
    "createBackup": (
        _create_backup,
        body.Obj(
            {
                "name": body.label(),
                "backup_type": body.text(),
                "rotation": body.integer(0, _MOST),
                "metadata": body.METADATA,
            },
            required=["name", "backup_type", "rotation"],
        ),
        "",
        "",
    ),
}
