"""What tests do in a process that is outside (conftest.py): fabricctl, etcd and gRPC."""

import asyncio
import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import orjson

from fabric.ctl.__main__ import run
from fabric.ctl.bed import Shape
from fabric.ctl.health import grpc_verdict, http_verdict
from fabric.ctl.sweep import sweep
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.discovery import CONTROLLERS
from fabric.runtime.errors import FabricError, Unavailable
from fabric.runtime.etcd import Change, Etcd, connect
from fabric.runtime.tls import CONTROLLER, channel_credentials, identity
from tests.system.faults.history import Past, history

SHAPE = Shape(nodes=3, controllers=2, compute_driver="fake", network_driver="fake")


def fabricctl(directory: Path, *words: str) -> str:
    """What it says; it may fail. In this process: to start another one takes a second."""
    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        run(["--state-dir", str(directory), *words])
    return told.getvalue()


def swept(config: Config) -> list[str]:
    return asyncio.run(sweep(config))


def past(config: Config) -> Past:
    return asyncio.run(history(config))


def answers(config: Config, program: str) -> bool:
    """Whether a controller or gateway serves."""
    if program == "gateway":
        return http_verdict(config.gateway) == "ok"
    return grpc_verdict(config.controller.listen, config.tls, CONTROLLER) == "ok"


def controllers(config: Config) -> set[str]:
    """The nodes whose controllers gateways are told of."""

    async def read() -> set[str]:
        etcd = connect(config.etcd)
        try:
            return {str(orjson.loads(each.value)["node"]) for each in (await etcd.scan(f"{CONTROLLERS}/"))[0]}
        finally:
            await etcd.close()

    return asyncio.run(read())


def members(config: Config) -> set[str]:
    """The nodes whose etcds have a vote."""

    async def read() -> set[str]:
        etcd = connect(config.etcd)
        try:
            return {member.name for member in await etcd.members() if member.serves}
        finally:
            await etcd.close()

    return asyncio.run(read())


def admitted(config: Config, attempts: Sequence[tuple[str, str]]) -> list[bool]:
    """Which attempts ("put" a key, "scan" a prefix) etcd lets the node of the configuration make."""
    files = {"cert_file": config.tls.cert_file, "key_file": config.tls.key_file}

    async def all_() -> list[bool]:
        etcd = connect(replace(config.etcd, **files))  # type: ignore[arg-type]
        try:
            return [await _admitted(etcd, config.node.name, *attempt) for attempt in attempts]
        finally:
            await etcd.close()

    return asyncio.run(all_())


async def _admitted(etcd: Etcd, node: str, verb: str, key: str) -> bool:
    never = Change(
        expect={f"/fabric/nodes/{node}/none": 1}, put={key: b"{}"}
    )  # etcd looks at all of it first
    try:
        await (etcd.commit(never) if verb == "put" else etcd.scan(key))
    except Unavailable as error:
        return "does not admit" not in error.message
    return True


def refusal(config: Config, address: str, peer: str, stub: type, rpc: str, request: Any) -> str:
    """What a call with the node's certificate is refused with; empty: it is not."""

    async def call() -> str:
        client = Client(address, identity=identity(config.tls), peer=peer)
        try:
            await client.call(stub, rpc, request, timeout_s=5)
        except FabricError as error:
            return error.message
        finally:
            await client.close()
        return ""

    return asyncio.run(call())


def status(address: str, ca_file: str, config: Config | None) -> str:
    """Of a call of what nobody serves; config None: without a certificate of the cloud."""
    if config is None:
        credentials = grpc.ssl_channel_credentials(Path(ca_file).read_bytes())
    else:
        made = channel_credentials(config.tls)
        assert made is not None
        credentials = made
    with grpc.secure_channel(address, credentials) as channel:
        try:
            channel.unary_unary("/fabric.None/Call", None, None)(b"", timeout=5)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"
