"""Compute API, section "Servers - run an action": rescue and unrescue."""

from collections.abc import Mapping
from typing import Any

from fabric.compute.v1 import server_pb2 as pb
from gateway.compute import body
from gateway.compute.acting import Known, plain, run
from gateway.compute.server_create import password
from gateway.core.http import Request, Response


async def _rescue(request: Request, value: Any) -> Response:
    given = value or {}
    await run(request, rescue=pb.ActOnServerRequest.Rescue(image_id=given.get("rescue_image_ref", "")))
    return Response(200, {"adminPass": given.get("adminPass") or password()})


ACTIONS: Mapping[str, Known] = {
    "rescue": (
        _rescue,
        body.maybe(body.Obj({"adminPass": body.text(), "rescue_image_ref": body.uuid})),
        "",
        "",
    ),
    "unrescue": (plain("unrescue"), body.null, "", ""),
}
