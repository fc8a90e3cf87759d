"""fabric-gateway: serves the public HTTP APIs on one port and calls the controllers."""

import argparse
import dataclasses
import importlib
import logging
import tomllib
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from gateway.core.app import application
from gateway.core.dialect import Api
from gateway.core.upstream import Upstream

APIS = ("identity", "image", "network", "compute")
GRACE_S = 10  # how long a stopping gateway lets requests in flight go on

log = structlog.get_logger(__name__)


@dataclasses.dataclass(frozen=True)
class Settings:
    """[gateway] of the configuration file."""

    listen: str = "127.0.0.1:8080"
    controllers: tuple[str, ...] = ("127.0.0.1:8081",)
    public_url: str = ""  # empty: as the caller's Host or X-Forwarded-Host header says
    identity_path: str = "/identity"
    image_path: str = "/image"
    network_path: str = "/network"
    compute_path: str = "/compute"


def settings(path: Path | None) -> Settings:
    """The settings in a TOML file."""
    given: dict[str, Any] = tomllib.loads(path.read_text()).get("gateway", {}) if path else {}
    return Settings(**given)


def apis() -> list[Api]:
    """The public APIs."""
    return [importlib.import_module(f"gateway.{name}.api").API for name in APIS]


def serve(gateway: Settings) -> None:
    """Serve until SIGTERM or SIGINT; then finish the requests in flight, for at most GRACE_S."""
    host, _, port = gateway.listen.rpartition(":")
    app = application(apis(), Upstream(gateway.controllers), gateway)
    log.info("gateway starting", listen=gateway.listen, controllers=list(gateway.controllers))
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
        timeout_graceful_shutdown=GRACE_S,
    )
    log.info("gateway stopped")


def main() -> None:
    """Entry point of fabric-gateway."""
    parser = argparse.ArgumentParser(prog="fabric-gateway", description=__doc__)
    parser.add_argument("--config", type=Path, help="TOML configuration file")
    logging.basicConfig(level=logging.WARNING)
    serve(settings(parser.parse_args().config))


if __name__ == "__main__":
    main()
