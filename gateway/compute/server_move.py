"""Compute API, section "Servers - run an administrative action": those that take servers to other nodes and flavors."""

import secrets
from collections.abc import Mapping
from typing import Any

from fabric.compute.v1 import server_pb2 as pb
from gateway.compute import body
from gateway.compute.acting import Known, plain, run
from gateway.core.http import Request, Response

_HOST = body.text(255, 1, r"[a-zA-Z0-9-._]*")


async def _migrate(request: Request, value: Any) -> Response:
    node = ((value or {}).get("host") or "") if request.microversion >= (2, 56) else ""
    return await run(request, migrate=pb.ActOnServerRequest.Migrate(node=node))


async def _migrate_live(request: Request, value: Any) -> Response:
    return await run(request, migrate_live=pb.ActOnServerRequest.MigrateLive(node=value["host"] or ""))


async def _resize(request: Request, value: Any) -> Response:
    flavor_id = str(value["flavorRef"]).rpartition("/")[2]
    disk_config = value.get("OS-DCF:diskConfig", "")
    return await run(
        request, resize=pb.ActOnServerRequest.Resize(flavor_id=flavor_id, disk_config=disk_config)
    )


async def _evacuate(request: Request, value: Any) -> Response:
    evacuate = pb.ActOnServerRequest.Evacuate(node=value.get("host") or "")
    await run(request, evacuate=evacuate)
    if request.microversion >= (2, 14):
        return Response(200)
    return Response(200, {"adminPass": value.get("adminPass") or secrets.token_urlsafe(9)})


def _migrate_body(value: Any, name: str, version: body.Version) -> Any:
    if version < (2, 56):
        return None
    return body.maybe(body.Obj({"host": body.maybe(_HOST)}))(value, name, version)


def _auto(value: Any, name: str, version: body.Version) -> Any:
    return value if value == "auto" else body.boolean(value, name, version)


_LIVE = body.Obj(
    {
        "host": body.maybe(_HOST),
        "block_migration": (body.boolean, "", "2.24"),
        "block_migration ": (_auto, "2.25", ""),
        "disk_over_commit": (body.boolean, "", "2.24"),
        "force": (body.boolean, "2.30", "2.67"),
    },
    required=["block_migration", "host"],
)


def _live_body(value: Any, name: str, version: body.Version) -> Any:
    found = _LIVE(value, name, version)
    if version < (2, 25) and "disk_over_commit" not in found:
        raise body.refuse(name, value, "'disk_over_commit' is a required property")
    return found


_EVACUATE = body.Obj(
    {
        "host": _HOST,
        "adminPass": body.text(),
        "onSharedStorage": (body.boolean, "", "2.13"),
        "force": (body.boolean, "2.29", "2.67"),
    }
)


def _evacuate_body(value: Any, name: str, version: body.Version) -> Any:
    found = _EVACUATE(value, name, version)
    if version < (2, 14) and "onSharedStorage" not in found:
        raise body.refuse(name, value, "'onSharedStorage' is a required property")
    return found


_RESIZE = body.Obj(
    {
        "flavorRef": body.either(body.text(255, 1), body.integer(0)),
        "OS-DCF:diskConfig": body.word("AUTO", "MANUAL"),
    },
    required=["flavorRef"],
)

ACTIONS: Mapping[str, Known] = {
    "migrate": (_migrate, _migrate_body, "", ""),
    "os-migrateLive": (_migrate_live, _live_body, "", ""),
    "evacuate": (_evacuate, _evacuate_body, "", ""),
    "resize": (_resize, _RESIZE, "", ""),
    "confirmResize": (plain("confirm_resize", 204), body.null, "", ""),
    "revertResize": (plain("revert_resize"), body.null, "", ""),
}
