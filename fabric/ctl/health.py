"""Whether the processes of this machine do their work, asked in the way that any monitor would."""

import http.client
import ssl
from collections.abc import Callable

from fabric.ctl.place import Place
from fabric.ctl.plan import programs
from fabric.ctl.program import answers_unix
from fabric.runtime.config import Config, Gateway, Tls
from fabric.runtime.tls import CONTROLLER

TIMEOUT_S = 1.0
Check = Callable[[], str]  # "ok", else what is wrong


def checks(place: Place, config: Config) -> dict[str, Check]:
    """For each program of the plan; who has no check of its own is healthy while it runs."""
    has_libvirtd = answers_unix(place.libvirt / "libvirt-sock")
    special: dict[str, Check] = {
        "etcd": lambda: _etcd(config),
        "controller": lambda: grpc_verdict(config.controller.listen, config.tls, CONTROLLER),
        "gateway": lambda: http_verdict(config.gateway),
        "libvirtd": lambda: "ok" if has_libvirtd() else "does not answer",
        "agent": lambda: grpc_verdict(config.agent.listen, config.tls),
    }
    desk = place.desk

    def runs(name: str) -> Check:
        return lambda: "ok" if desk.find(name) else "does not run"

    def check(name: str) -> Check:
        return lambda: special[name]() if desk.find(name) else "does not run"

    return {
        program.name: check(program.name) if program.name in special else runs(program.name)
        for program in programs(place, config)
    }


def grpc_verdict(address: str, tls: Tls, peer: str = "localhost") -> str:
    """The standard health service (grpc.health.v1); peer: a name that its certificate has."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    from fabric.runtime.tls import channel_credentials

    credentials = channel_credentials(tls)
    options = [("grpc.ssl_target_name_override", peer)]
    with (
        grpc.insecure_channel(address)
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    ) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S, wait_for_ready=True
            )
        except grpc.RpcError as error:
            return f"{error.code().name.lower().replace('_', ' ')} at {address}"
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
    return "ok" if name == "SERVING" else name.lower().replace("_", " ")


def http_verdict(gateway: Gateway) -> str:
    """What a gateway says of itself; whose name is in its certificate is not what is asked."""
    address = gateway.listen
    host, _, port = address.rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host).strip("[]")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_S)
    if gateway.cert_file:
        unverified = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT_S, context=unverified)
    try:
        connection.request("GET", "/healthz")
        status = connection.getresponse().status
    except OSError as error:
        return f"{error.strerror or error} at {address}"
    finally:
        connection.close()
    return "ok" if status < 300 else f"HTTP {status}"


def _etcd(config: Config) -> str:
    """A read through the quorum."""
    import asyncio

    from fabric.runtime.errors import FabricError
    from fabric.runtime.etcd import connect

    async def read() -> None:
        etcd = connect(config.etcd)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await etcd.revision()
        finally:
            await etcd.close()

    try:
        asyncio.run(read())
    except (FabricError, TimeoutError) as error:
        return str(error) or "does not answer in time"
    return "ok"
