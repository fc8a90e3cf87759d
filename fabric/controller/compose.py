"""What a controller is made of: one store, one policy, one server, and the loops under leadership."""

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from fabric.compute import controller as compute_controller
from fabric.compute import policies as compute_policies
from fabric.compute import service as compute_service
from fabric.controller.store import make_store
from fabric.identity import controller as identity_controller
from fabric.identity import policies as identity_policies
from fabric.identity import service as identity_service
from fabric.identity.token import Authenticator
from fabric.image import controller as image_controller
from fabric.image import policies as image_policies
from fabric.image import service as image_service
from fabric.network import controller as network_controller
from fabric.network import policies as network_policies
from fabric.network import service as network_service
from fabric.node import service as node_service
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.discovery import announce
from fabric.runtime.etcd import Change, Etcd, connect
from fabric.runtime.leader import lead
from fabric.runtime.policy import Policy
from fabric.runtime.rpc import Server
from fabric.runtime.ticket import PUBLIC_KEY, Signer
from fabric.runtime.tls import CONTROLLER, PeerCheck, identity, server_credentials

log = structlog.get_logger(__name__)

SERVICES = (identity_service, image_service, network_service, compute_service)
CONTROLLERS = (identity_controller, image_controller, network_controller, compute_controller)
POLICIES = (identity_policies, image_policies, network_policies, compute_policies)

_STOP_S = 5.0
_LEAVE_S = 0.5


async def serve(
    config: Config, *, stop: asyncio.Event, ready: Callable[[int], None] = lambda _: None
) -> None:
    """Run a controller until stop is set; ready is called with the port when it serves."""
    etcd = connect(config.etcd)
    store = make_store(config, etcd)
    authenticator = Authenticator(store, config)
    policy = Policy([rule for part in POLICIES for rule in part.RULES], Path(config.controller.policy_dir))
    server = Server(
        authenticate=authenticator.authenticate,
        freshness=store,
        public=frozenset[str]().union(*(service.PUBLIC for service in SERVICES)),
        credentials=server_credentials(config.tls),
        peer_check=PeerCheck(lambda number: node_service.refused(store, number)),
    )
    client = Client(
        config.controller.listen,
        service_token=authenticator.service_token,
        revision=store.revision,
        identity=identity(config.tls),
        peer=CONTROLLER,
        here=server,
    )
    for service in SERVICES:
        service.register(server, store, policy, config, client)
    works = {}
    for controller in CONTROLLERS:
        works.update(controller.loops(store, config, client))
    servers = [server]
    stopped = asyncio.create_task(stop.wait())
    running = [asyncio.create_task(store.run()), asyncio.create_task(etcd.follow_members())]
    try:
        if not await _comes_first(store.cache.ready, {stopped, *running}):
            return
        if config.controller.authority_dir:
            await node_service.begin(store, config)
        await _publish_ticket_key(config, etcd)
        await server.start(config.controller.listen)
        if config.controller.join_listen:
            joining = node_service.server(store, config)
            servers.append(joining)
            await joining.start(config.controller.join_listen)
        announced = asyncio.create_task(announce(etcd, config))
        running.append(announced)
        running.append(asyncio.create_task(lead(etcd, f"{socket.gethostname()}.{os.getpid()}", works)))
        ready(server.port)
        await asyncio.wait({stopped, *running}, return_when=asyncio.FIRST_COMPLETED)
        announced.cancel()
        await asyncio.wait({announced})
        await asyncio.sleep(_LEAVE_S)  # until who calls has heard of it: no new calls come from then on
        await asyncio.gather(*(each.stop(_STOP_S) for each in servers))
    finally:
        stopped.cancel()
        for task in running:
            task.cancel()
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, Exception):
                log.error("controller broke", exc_info=result)
        await client.close()
        await etcd.close()


async def _comes_first(event: asyncio.Event, ends: set[asyncio.Task[Any]]) -> bool:
    """Return when it is set, or one of these has ended before."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({waiting, *ends}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return event.is_set()


async def _publish_ticket_key(config: Config, etcd: Etcd) -> None:
    value = Signer.of(config.controller.master_key_file).public_key
    found = await etcd.get(PUBLIC_KEY)
    if found is None or found.value != value:
        await etcd.commit(Change(put={PUBLIC_KEY: value}))
