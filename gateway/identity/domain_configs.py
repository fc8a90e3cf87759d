"""Identity API v3, section "Domain configuration"."""

from typing import Any

import orjson

from fabric.identity.v1 import domain_config_pb2 as pb
from fabric.identity.v1.domain_config_pb2_grpc import DomainConfigServiceStub as Stub
from gateway.core.codec import JsonValue
from gateway.core.fault import Invalid
from gateway.core.http import Request, Response
from gateway.core.route import Route


def _body(request: Request) -> JsonValue:
    config = request.json().get("config")
    if not isinstance(config, dict):
        raise Invalid("'config' is a required property and must be an object.", field="config")
    return config


def _answer(status: int, reply: pb.DomainConfig, option: str = "") -> Response:
    config: Any = orjson.loads(reply.config)
    return Response(status, {"config": config})


async def put(request: Request) -> Response:
    message = pb.SetDomainConfigRequest(
        domain_id=request.params["domain_id"], config=orjson.dumps(_body(request)).decode()
    )
    reply = await request.call(request.stub(Stub).SetDomainConfig, message)
    return _answer(201 if reply.meta.generation == 1 else 200, reply)


async def patch(request: Request) -> Response:
    config, group, option = _body(request), request.params.get("group", ""), request.params.get("option", "")
    if option:  # {"config": {option: value}}
        config = config if isinstance(config, dict) and group in config else {group: config}
    message = pb.UpdateDomainConfigRequest(**request.params, config=orjson.dumps(config).decode())
    return _answer(200, await request.call(request.stub(Stub).UpdateDomainConfig, message))


async def get(request: Request) -> Response:
    message = pb.GetDomainConfigRequest(**request.params)
    return _answer(200, await request.call(request.stub(Stub).GetDomainConfig, message))


async def delete(request: Request) -> Response:
    message = pb.DeleteDomainConfigRequest(**request.params)
    await request.call(request.stub(Stub).DeleteDomainConfig, message)
    return Response(204)


async def default(request: Request) -> Response:
    message = pb.GetDomainConfigDefaultRequest(**request.params)
    return _answer(200, await request.call(request.stub(Stub).GetDomainConfigDefault, message))


_PATH = "/v3/domains/{domain_id}/config"
_PARTS = ("", "/{group}", "/{group}/{option}")

routes = [
    Route("PUT", _PATH, put),
    *(Route("PATCH", _PATH + part, patch) for part in _PARTS),
    *(Route("GET", _PATH + part, get) for part in _PARTS),
    *(Route("DELETE", _PATH + part, delete) for part in _PARTS),
    *(Route("GET", "/v3/domains/config" + part + "/default", default) for part in _PARTS),
]
