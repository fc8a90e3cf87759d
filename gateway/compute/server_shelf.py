"""Compute API, section "Servers - run an action": shelve, shelveOffload and unshelve."""

from collections.abc import Mapping
from typing import Any

from fabric.compute.v1 import server_pb2 as pb
from gateway.compute import body
from gateway.compute.acting import Known, plain, run
from gateway.core.http import Request, Response


async def _unshelve(request: Request, value: Any) -> Response:
    asked = pb.ActOnServerRequest.Unshelve(node=(value or {}).get("host", ""))
    if "availability_zone" in (value or {}):
        asked.availability_zone = value["availability_zone"] or ""
    return await run(request, unshelve=asked)


_ZONE = body.text(255, 1)
_GOAL = body.Obj(
    {
        "availability_zone": (_ZONE, "2.77", "2.90"),
        "availability_zone ": (body.maybe(_ZONE), "2.91", ""),
        "host": (body.text(255, 1), "2.91", ""),
    },
    least=1,
)


def _unshelve_body(value: Any, name: str, version: body.Version) -> Any:
    return body.maybe(_GOAL)(value, name, version) if version >= (2, 77) else None


ACTIONS: Mapping[str, Known] = {
    "shelve": (plain("shelve"), body.null, "", ""),
    "shelveOffload": (plain("shelve_offload"), body.null, "", ""),
    "unshelve": (_unshelve, _unshelve_body, "", ""),
}
