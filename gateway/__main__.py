"""fabric-gateway: serves the public HTTP APIs on one port and calls the controllers."""

import argparse
import asyncio
import importlib
import resource
import signal
import socket
import ssl
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import structlog
import uvicorn
import uvloop

from fabric.runtime import config
from fabric.runtime.discovery import follow
from fabric.runtime.etcd import as_node, connect
from fabric.runtime.log import configure
from fabric.runtime.process import seldom_look_for_cycles
from fabric.runtime.tls import Identity, identity
from gateway.core.app import Application, application
from gateway.core.connection import Connection
from gateway.core.dialect import Api
from gateway.core.listener import begin_no_more
from gateway.core.upstream import Upstream

APIS = ("identity", "image", "network", "compute", "placement")
_LOOK_S = 2.0  # how often for another certificate
_LEAVE_S = 0.5  # no client of ours is quiet for longer while it works
_SETTLE_S = 0.2  # in which connections that have begun are accepted and say what they want

log = structlog.get_logger(__name__)


def apis() -> list[Api]:
    """The public APIs that this installation has."""
    names = [f"gateway.{name}" for name in APIS if find_spec(f"gateway.{name}")]
    return [importlib.import_module(f"{name}.api").API for name in names if find_spec(f"{name}.api")]


async def serve(settings: config.Config) -> None:
    """Serve until SIGTERM or SIGINT; then let the requests under way end, for at most drain_s."""
    gateway = settings.gateway
    upstream = Upstream(gateway.controllers, identity(settings.tls))
    log.info("gateway starting", listen=gateway.listen, controllers=gateway.controllers)
    following = [] if gateway.controllers else [asyncio.create_task(_follow(settings, upstream))]
    server = _server(application(apis(), upstream, gateway), gateway)
    if gateway.cert_file:
        server.config.load()
        following.append(asyncio.create_task(_renew(server.config, gateway)))
    for task in following:
        task.add_done_callback(lambda _: server.stop())
    await server.serve()
    for task in following:
        task.cancel()
    for result in await asyncio.gather(*following, return_exceptions=True):
        if isinstance(result, Exception):
            log.error("gateway broke", exc_info=result)
    log.info("gateway stopped")


async def _follow(settings: config.Config, upstream: Upstream) -> None:
    """Call the controllers that live, as long as this runs."""
    etcd = connect(as_node(settings))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(follow(etcd, upstream.use))
            tasks.create_task(etcd.follow_members())
    finally:
        await etcd.close()


async def _renew(served: uvicorn.Config, settings: config.Gateway) -> None:
    """Show the certificate that is in the file now to whoever connects, as long as this runs."""
    shown = Identity("", settings.cert_file, settings.key_file)
    version = shown.version
    while served.ssl is not None:
        await asyncio.sleep(_LOOK_S)
        if shown.version != version:
            try:
                served.ssl.load_cert_chain(settings.cert_file, settings.key_file)
            except (OSError, ssl.SSLError) as error:  # the key is of another: both are written soon
                log.warning("certificate not taken", file=settings.cert_file, cause=str(error))
            else:
                version = shown.version


class _Server(uvicorn.Server):
    """Before it ends it serves on for a moment, in which clients give up their connections by themselves."""

    def __init__(self, config_: uvicorn.Config, app: Application) -> None:
        super().__init__(config_)
        self._app = app

    def stop(self) -> None:
        """As SIGTERM does."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.leaving = True
        if not self.force_exit:
            await asyncio.sleep(_LEAVE_S)
            for listening in (each for server in self.servers for each in server.sockets):
                begin_no_more(listening)
            for _ in range(4):  # however busy it is, the loop looks at its sockets in between
                await asyncio.sleep(_SETTLE_S / 4)
        await super().shutdown(sockets)


def _server(app: Application, settings: config.Gateway) -> _Server:
    host, _, port = settings.listen.rpartition(":")
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again at its end
        signal.signal(number, lambda *_: None)
    return _Server(
        uvicorn.Config(
            app,
            host=host.strip("[]"),
            port=int(port),
            http=cast(Any, partial(Connection, patience_s=settings.patience_s)),
            ssl_certfile=settings.cert_file or None,
            ssl_keyfile=settings.key_file or None,
            ws="wsproto",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=4096,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        ),
        app,
    )


def main() -> None:
    """Entry point of fabric-gateway."""
    parser = argparse.ArgumentParser(prog="fabric-gateway", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/fabric/fabric.toml"))
    settings = config.load(parser.parse_args().config)
    configure("fabric-gateway", settings.log.level, settings.log.format)
    seldom_look_for_cycles()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is a file
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
