"""fabric-gateway: serves the public HTTP APIs on one port and calls the controllers."""

import argparse
import importlib
import signal
from importlib.util import find_spec
from pathlib import Path

import structlog
import uvicorn

from fabric.runtime import config
from fabric.runtime.log import configure
from fabric.runtime.tls import channel_credentials
from gateway.core.app import application
from gateway.core.dialect import Api
from gateway.core.upstream import Upstream

APIS = ("identity", "image", "network", "compute", "placement")

log = structlog.get_logger(__name__)


def apis() -> list[Api]:
    """The public APIs that this installation has."""
    names = [f"gateway.{name}" for name in APIS if find_spec(f"gateway.{name}")]
    return [importlib.import_module(f"{name}.api").API for name in names if find_spec(f"{name}.api")]


def serve(settings: config.Gateway, tls: config.Tls) -> None:
    """Serve until SIGTERM or SIGINT; then let the requests under way end, for at most drain_s."""
    host, _, port = settings.listen.rpartition(":")
    app = application(apis(), Upstream(settings.controllers, channel_credentials(tls)), settings)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises them again at its end
        signal.signal(number, lambda *_: None)
    log.info("gateway starting", listen=settings.listen, controllers=settings.controllers)
    uvicorn.run(
        app,
        host=host.strip("[]"),
        port=int(port),
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        backlog=4096,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
    )
    log.info("gateway stopped")


def main() -> None:
    """Entry point of fabric-gateway."""
    parser = argparse.ArgumentParser(prog="fabric-gateway", description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("/etc/fabric/fabric.toml"))
    settings = config.load(parser.parse_args().config)
    configure("fabric-gateway", settings.log.level, settings.log.format)
    serve(settings.gateway, settings.tls)


if __name__ == "__main__":
    main()
