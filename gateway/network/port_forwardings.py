"""Networking API v2.0, section "Floating IPs port forwarding"."""

import re
from typing import Any

from fabric.network.v1 import port_forwarding_pb2 as pb
from fabric.network.v1.port_forwarding_pb2_grpc import PortForwardingServiceStub
from gateway.core.codec import Integer, IpAddress, JsonValue, Text, Uuid
from gateway.core.crud import Crud
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.network.resource import BOTH, PREFIX, shown

PORT = Integer(1, 65535, lenient=True)
_RANGE = re.compile(r"([0-9]{1,5})(?::([0-9]{1,5}))?")
_SIDES = ("external", "internal")


def _single(forwarding: pb.PortForwarding, side: str) -> JsonValue:
    first, last = _ends(forwarding, side)
    return first if first == last and first else None


def _range(forwarding: pb.PortForwarding, side: str) -> JsonValue:
    first, last = _ends(forwarding, side)
    return f"{first}:{last}" if first else None


def _ends(forwarding: pb.PortForwarding, side: str) -> tuple[int, int]:
    return getattr(forwarding.spec, f"{side}_port_first"), getattr(forwarding.spec, f"{side}_port_last")


def brief(forwarding: pb.PortForwarding) -> JsonValue:
    """As its floating IP shows it."""
    shown: dict[str, JsonValue] = {
        "id": forwarding.meta.id,
        "protocol": forwarding.spec.protocol,
        "internal_ip_address": forwarding.spec.internal_ip_address,
        "internal_port_id": forwarding.spec.internal_port_id,
    }
    for side in _SIDES:
        if (single := _single(forwarding, side)) is not None:
            shown[f"{side}_port"] = single
        else:
            shown[f"{side}_port_range"] = _range(forwarding, side)
    return shown


FORWARDINGS = Table(
    singular="port_forwarding",
    plural="port_forwardings",
    message=pb.PortForwarding,
    service=PortForwardingServiceStub,
    fields=[
        shown("id", "meta.id"),
        Field("project_id", write="create", read=False, aliases=("tenant_id",)),
        shown("description", "meta.description", write=BOTH),
        shown("protocol", "spec.protocol", write=BOTH, codec=Text(40), required=True),
        shown("internal_port_id", "spec.internal_port_id", write=BOTH, codec=Uuid, required=True),
        shown(
            "internal_ip_address", "spec.internal_ip_address", write=BOTH, codec=IpAddress(), required=True
        ),
        shown(
            "external_port",
            "spec.external_port_first",
            write=BOTH,
            codec=PORT,
            compute=lambda forwarding, _: _single(forwarding, "external"),
        ),
        shown(
            "internal_port",
            "spec.internal_port_first",
            write=BOTH,
            codec=PORT,
            compute=lambda forwarding, _: _single(forwarding, "internal"),
        ),
        Field("external_port_range", compute=lambda forwarding, _: _range(forwarding, "external")),
        Field("internal_port_range", compute=lambda forwarding, _: _range(forwarding, "internal")),
    ],
)


class Forwardings(Crud):
    """Below one floating IP; ports are one (external_port) or a range (external_port_range: first:last)."""

    def __init__(self) -> None:
        super().__init__(FORWARDINGS, parents={"floatingip_id": "spec.floating_ip_id"})

    async def get(self, request: Request) -> Any:
        found = await super().get(request)
        if found.spec.floating_ip_id != request.params["floatingip_id"]:
            raise Fault(
                404,
                f"Port Forwarding {found.meta.id} could not be found.",
                reason="PORT_FORWARDING_NOT_FOUND",
            )
        return found

    async def create(self, request: Request) -> Response:
        body, ends = _split(request)
        message = self.parse(request, body)
        for path, value in ends.items():
            setattr(message.spec, path, value)
        created = await self.call(request, self._create, **{self._create.first: message})
        return Response(201, {"port_forwarding": self.table.render(created, request)})

    async def update(self, request: Request) -> Response:
        await self.get(request)
        body, ends = _split(request)
        message, paths = self.table.parse_update(body, request)
        for path, value in ends.items():
            setattr(message.spec, path, value)
        paths = sorted({*paths, *(f"spec.{path}" for path in ends)})
        if not paths:
            return await self.show(request)
        message.meta.id = request.params["id"]
        asked = pb.UpdatePortForwardingRequest(port_forwarding=message)
        asked.update_mask.paths.extend(paths)
        updated = await request.call(request.stub(PortForwardingServiceStub).UpdatePortForwarding, asked)
        return Response(200, {"port_forwarding": self.table.render(updated, request)})

    async def delete(self, request: Request) -> Response:
        await self.get(request)
        return await super().delete(request)


def _split(request: Request) -> tuple[dict[str, JsonValue], dict[str, int]]:
    """The body without the transport ports, and their first and last."""
    body = dict(request.api.dialect.unwrap(FORWARDINGS, request.json(), request))
    ends: dict[str, int] = {}
    for side in _SIDES:
        single, several = body.pop(f"{side}_port", None), body.pop(f"{side}_port_range", None)
        if single is not None and several is not None:
            raise Invalid(
                f"Only one of {side}_port and {side}_port_range may be given.", field=f"{side}_port_range"
            )
        if single is not None:
            number = PORT.from_json(single, f"{side}_port")
            ends[f"{side}_port_first"] = ends[f"{side}_port_last"] = number
        if several is not None:
            first, last = _parsed(several, f"{side}_port_range")
            ends[f"{side}_port_first"], ends[f"{side}_port_last"] = first, last
    return body, ends


def _parsed(value: JsonValue, field: str) -> tuple[int, int]:
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise Invalid(f"'{field}' must be first:last, not {str(value)[:40]}.", field=field)
    first = PORT.from_json(match[1], field)
    return first, PORT.from_json(match[2] or match[1], field)


_handlers = Forwardings()
_PATH = f"{PREFIX}/floatingips/{{floatingip_id}}/port_forwardings"
_ITEM = f"{_PATH}/{{id}}"
routes = [
    Route("GET", _PATH, _handlers.list),
    Route("POST", _PATH, _handlers.create),
    Route("GET", _ITEM, _handlers.show),
    Route("PUT", _ITEM, _handlers.update),
    Route("DELETE", _ITEM, _handlers.delete),
]
