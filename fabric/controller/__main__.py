"""fabric-controller: serves every gRPC service, and runs the cluster-wide loops that it leads."""

import asyncio

from fabric.controller.compose import serve
from fabric.runtime import process
from fabric.runtime.config import Config


def main() -> None:
    """fabric-controller --config FILE."""
    process.main("fabric-controller", __doc__ or "", _serve)


async def _serve(config: Config, stop: asyncio.Event) -> None:
    await serve(config, stop=stop)


if __name__ == "__main__":
    main()
