"""Compute API, section "Servers - run an action"."""

from typing import Any

from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_pb2_grpc import ServerServiceStub
from gateway.compute import (
    body,
    consoles,
    floating_ips,
    server_image,
    server_move,
    server_rebuild,
    server_rescue,
    server_shelf,
    servers,
)
from gateway.compute.acting import Act, Known, plain, run
from gateway.compute.body import refuse
from gateway.compute.reading import only_admins
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.microversion import Range
from gateway.core.route import Route

_PASSWORD_S = 55.0


async def _reboot(request: Request, value: Any) -> Response:
    hard = value["type"].upper() == "HARD"
    return await run(request, reboot=pb.ActOnServerRequest.Reboot(hard=hard))


async def _lock(request: Request, value: Any) -> Response:
    reason = (value or {}).get("locked_reason") or ""
    return await run(request, lock=pb.ActOnServerRequest.Lock(reason=reason))


async def _reset_state(request: Request, value: Any) -> Response:
    return await run(request, reset_state=pb.ActOnServerRequest.ResetState(error=value["state"] == "error"))


async def _add_group(request: Request, value: Any) -> Response:
    group = pb.ActOnServerRequest.AddSecurityGroup(name=value["name"])
    return await run(request, add_security_group=group)


async def _remove_group(request: Request, value: Any) -> Response:
    group = pb.ActOnServerRequest.RemoveSecurityGroup(name=value["name"])
    return await run(request, remove_security_group=group)


async def _add_address(request: Request, value: Any) -> Response:
    asked = pb.ActOnServerRequest.AddFixedIp(network_id=value["networkId"])
    return await run(request, add_fixed_ip=asked)


async def _remove_address(request: Request, value: Any) -> Response:
    return await run(request, remove_fixed_ip=pb.ActOnServerRequest.RemoveFixedIp(address=value["address"]))


async def _delete(request: Request, value: Any) -> Response:
    await servers.delete(request)
    return Response(202)


async def _console_output(request: Request, value: Any) -> Response:
    length = (value or {}).get("length")
    lines = 0 if length is None or length < 0 else length
    if length == 0:
        await servers.find(request)
        return Response(200, {"output": ""})
    asked = pb.GetConsoleOutputRequest(id=request.params["server_id"], lines=lines)
    reply = await request.call(request.stub(ServerServiceStub).GetConsoleOutput, asked)
    return Response(200, {"output": reply.output.decode(errors="replace").replace("\0", "")})


async def _change_password(request: Request, value: Any) -> Response:
    """It waits for a guest that boots."""
    asked = pb.ActOnServerRequest.ChangePassword(password=value["adminPass"])
    return await run(request, timeout=_PASSWORD_S, change_password=asked)


async def _network_again(request: Request, value: Any) -> Response:
    """Guests have their network from DHCP and the config drive; there is nothing to inject, as with libvirt."""
    await only_admins(request, "os-admin-actions:inject_network_info")
    await servers.find(request)
    return Response(202)


def _nothing(*states: str) -> Act:
    """What this cloud does not offer; where it would not fit the server's state, that is said first."""

    async def act(request: Request, value: Any) -> Response:
        server = await servers.find(request)
        name, state = next(iter(request.json())), server.view.vm_state
        if states and state not in states:
            text = f"Cannot '{name}' instance {server.meta.id} while it is in vm_state {state}"
            raise Fault(409, text, reason="INSTANCE_INVALID_STATE")
        raise Fault(501, "The requested functionality is not supported.", reason="NOT_SUPPORTED")

    return act


_GROUP = body.Obj({"name": body.text(255, 1)}, required=["name"], open=True)
_NETWORK = body.Obj({"networkId": body.text(255, 1)}, required=["networkId"], open=True)
_ADDRESS = body.Obj({"address": body.address()}, required=["address"], open=True)
_FLOATING = body.Obj({"address": body.address(4), "fixed_address": body.address(4)}, required=["address"])
_REASON = body.Obj({"locked_reason": body.text(255, 1)})


def _lock_body(value: Any, name: str, version: body.Version) -> Any:
    return body.maybe(_REASON)(value, name, version) if version >= (2, 73) else None


_REBOOT_TYPES = ("SOFT", "HARD", "Soft", "Hard", "soft", "hard")

ACTIONS: dict[str, Known] = {
    "os-start": (plain("start"), body.null, "", ""),
    "os-stop": (plain("stop"), body.null, "", ""),
    "reboot": (_reboot, body.Obj({"type": body.word(*_REBOOT_TYPES)}, required=["type"]), "", ""),
    "pause": (plain("pause"), body.null, "", ""),
    "unpause": (plain("unpause"), body.null, "", ""),
    "suspend": (plain("suspend"), body.null, "", ""),
    "resume": (plain("resume"), body.null, "", ""),
    "lock": (_lock, _lock_body, "", ""),
    "unlock": (plain("unlock"), body.null, "", ""),
    "addSecurityGroup": (_add_group, _GROUP, "", ""),
    "removeSecurityGroup": (_remove_group, _GROUP, "", ""),
    "addFixedIp": (_add_address, _NETWORK, "", "2.43"),
    "removeFixedIp": (_remove_address, _ADDRESS, "", "2.43"),
    "addFloatingIp": (floating_ips.add, _FLOATING, "", "2.43"),
    "removeFloatingIp": (floating_ips.remove, _ADDRESS, "", "2.43"),
    "os-resetState": (
        _reset_state,
        body.Obj({"state": body.word("active", "error")}, required=["state"]),
        "",
        "",
    ),
    "forceDelete": (_delete, body.null, "", ""),
    "os-getConsoleOutput": (
        _console_output,
        body.maybe(body.Obj({"length": body.maybe(body.integer(-1))})),
        "",
        "",
    ),
    "injectNetworkInfo": (_network_again, body.null, "", ""),
    "resetNetwork": (_network_again, body.null, "", ""),
    **server_move.ACTIONS,
    **server_rebuild.ACTIONS,
    **server_image.ACTIONS,
    **server_shelf.ACTIONS,
    **server_rescue.ACTIONS,
    **consoles.ACTIONS,
    "changePassword": (
        _change_password,
        body.Obj({"adminPass": body.text()}, required=["adminPass"]),
        "",
        "",
    ),
    # Known, and not offered yet.
    "restore": (_nothing("soft-delete"), body.null, "", ""),
    "trigger_crash_dump": (
        _nothing("active", "paused", "rescued", "resized", "error"),
        body.null,
        "2.17",
        "",
    ),
}


async def act(request: Request) -> Response:
    """POST .../action: one key names the action."""
    given = request.json()
    if len(given) != 1:
        raise Invalid("There is no such action: the body must name exactly one.")
    name, value = next(iter(given.items()))
    action, rule, since, until = ACTIONS.get(name, (None, body.null, "", ""))
    if action is None:
        raise Invalid(f"There is no such action: {name[:64]}", field=name[:64])
    if request.microversion not in Range(since, until):
        raise Fault(404, "The resource could not be found.", reason="NO_SUCH_ACTION")
    if rule is not body.null and value is None and rule is not body.anything:
        try:
            rule(value, name, request.microversion)
        except Invalid as error:
            raise refuse(name, value, "None is not of type 'object'") from error
    return await action(request, rule(value, name, request.microversion))


routes = [Route("POST", "/v2.1/servers/{server_id}/action", act)]
