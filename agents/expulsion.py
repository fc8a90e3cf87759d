"""A node that was removed from the cloud, and runs on: what it has, others may have by now, so it ends it.

etcd does not admit such a node; that can have other causes. Only a node of the panel that says that its certificate
was withdrawn is believed. Files stay as they are.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence

import structlog

from agents.running import Kind, Running
from fabric.runtime.certificate import write_private
from fabric.runtime.client import Client
from fabric.runtime.errors import FabricError
from fabric.runtime.tls import WITHDRAWN
from fabric.type.v1 import witness_pb2
from fabric.type.v1.witness_pb2_grpc import WitnessServiceStub

log = structlog.get_logger(__name__)

_EVERY_S = 5.0
_AGAIN_S = 30.0
_TIMEOUT_S = 2.0


async def obey(running: Running, kinds: Sequence[Kind]) -> None:
    """Give up what runs here whenever the cloud says that the node is no part of it. Never returns."""
    if running.identity is None:  # nobody here is known by a certificate
        await asyncio.Event().wait()
    expulsion = _Expulsion(running)
    while True:
        await expulsion.come()
        log.error("the cloud has removed this node: what runs here ends", node=running.config.node.name)
        for kind in kinds:
            try:
                await kind.surrender()
            except FabricError as error:
                log.error("agent cannot end what runs here", agent=kind.name, cause=error.message)
        await asyncio.sleep(_AGAIN_S)


class _Expulsion:
    """Asks while none of the node's agents lives; the panel is remembered, since etcd is silent then."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._file = running.config.node.state_dir / "panel.json"

    async def come(self) -> None:
        """Return when a node of the panel says so."""
        while True:
            panel = await asyncio.to_thread(self._panel)
            lives = any(life.revision for life in self._running.lives.values())
            if not lives and any([await self._is_withdrawn_at(address) for address in panel.values()]):
                return
            await asyncio.sleep(_EVERY_S)

    def _panel(self) -> Mapping[str, str]:
        """The addresses of the others."""
        try:
            remembered: dict[str, str] = json.loads(self._file.read_text())
        except (OSError, ValueError):
            remembered = {}
        others = dict(self._running.panel())
        others.pop(self._running.config.node.name, None)
        if others and others != remembered:
            with contextlib.suppress(OSError):  # a full disk: it is tried again
                write_private(self._file, json.dumps(others).encode())
        return others or remembered

    async def _is_withdrawn_at(self, address: str) -> bool:
        client = Client(address, identity=self._running.identity)
        try:
            await client.call(
                WitnessServiceStub, "GetLife", witness_pb2.GetLifeRequest(), timeout_s=_TIMEOUT_S
            )
        except FabricError as error:
            return error.reason == WITHDRAWN
        finally:
            await client.close()
        return False
