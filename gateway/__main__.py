"""fabric-gateway: serves the public HTTP APIs on one port and calls the controllers."""

import argparse
import asyncio
import importlib
import signal
from importlib.util import find_spec
from pathlib import Path

import structlog
import uvicorn
import uvloop

from fabric.runtime import config
from fabric.runtime.discovery import follow
from fabric.runtime.etcd import as_node, connect
from fabric.runtime.log import configure
from fabric.runtime.process import seldom_look_for_cycles
from fabric.runtime.tls import identity
from gateway.core.app import Application, application
from gateway.core.dialect import Api
from gateway.core.upstream import Upstream

APIS = ("identity", "image", "network", "compute", "placement")

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
    await _server(application(apis(), upstream, gateway), gateway).serve()
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)
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


def _server(app: Application, settings: config.Gateway) -> uvicorn.Server:
    host, _, port = settings.listen.rpartition(":")
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again at its end
        signal.signal(number, lambda *_: None)
    return uvicorn.Server(
        uvicorn.Config(
            app,
            host=host.strip("[]"),
            port=int(port),
            http="httptools",
            ws="none",
            access_log=False,
            log_config=None,
            server_header=False,
            backlog=4096,
            timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        )
    )


def main() -> None:
    """Entry point of fabric-gateway."""
    parser = argparse.ArgumentParser(prog="fabric-gateway", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/fabric/fabric.toml"))
    settings = config.load(parser.parse_args().config)
    configure("fabric-gateway", settings.log.level, settings.log.format)
    seldom_look_for_cycles()
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
