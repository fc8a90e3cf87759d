"""What the gateway costs, CPU a request and the time of large lists: python -m tests.bench.gateway."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import orjson
import structlog
import uvloop

from fabric.network.v1 import network_pb2 as pb
from gateway.network.networks import NETWORKS
from tests.functional.gateway.harness import Client, Networks, serving

NETWORK = "/network/v2.0/networks"


class Caller:
    roles = frozenset({"admin"})
    microversion = (0, 0)


def best(work: Callable[[], Any], rounds: int = 7) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def networks(count: int) -> list[pb.Network]:
    made = []
    for index in range(count):
        network = pb.Network()
        network.meta.id, network.meta.name, network.meta.project_id = f"id-{index}", f"name {index}", "p" * 32
        network.meta.create_time.GetCurrentTime()
        network.meta.update_time.GetCurrentTime()
        network.meta.tags.extend(["a", "b"])
        network.spec.mtu, network.status.state = 1450, pb.NetworkStatus.STATE_ACTIVE
        network.status.subnet_ids.extend(["s1", "s2"])
        made.append(network)
    return made


def rendering() -> None:
    raw = [network.SerializeToString() for network in networks(1000)]
    caller: Any = Caller()
    fields = len(NETWORKS.shape.columns)

    def render() -> bytes:
        return orjson.dumps(NETWORKS.render_list([pb.Network.FromString(one) for one in raw], caller))

    print(f"parse, render and dump 1,000 networks of {fields} fields: {best(render) * 1000:.1f} ms")


async def requests(client: Client, title: str, count: int, *call: str) -> None:
    for _ in range(50):
        await client(*call)
    gc.collect()
    cpu, spent = time.process_time(), []
    for _ in range(count):
        start = time.perf_counter()
        await client(*call)
        spent.append(time.perf_counter() - start)
    cpu = (time.process_time() - cpu) / count
    print(f"{title}: p50 {statistics.median(spent) * 1e3:.3f} ms, CPU {cpu * 1e3:.3f} ms")


async def main() -> None:
    rendering()
    servicer = Networks()
    async with serving(servicer) as client:
        for network in networks(1000):
            servicer.networks[network.meta.id] = network
        await requests(client, "version document (no upstream)", 2000, "GET", "/network")
        await requests(
            client, "GET network, gateway and controller in one process", 1000, "GET", f"{NETWORK}/id-7"
        )
        await requests(client, "list of 1,000 networks", 20, "GET", NETWORK)
        await bare(client)


async def bare(client: Client) -> None:
    """The same call without the gateway: what to subtract."""
    from fabric.network.v1.network_pb2_grpc import NetworkServiceStub

    method: Any = client.app._upstream.stub(NetworkServiceStub).GetNetwork
    request, metadata = pb.GetNetworkRequest(id="id-7"), (("x-auth-token", "admin"),)
    cpu = time.process_time()
    for _ in range(1000):
        await method(request, metadata=metadata, timeout=5)
    print(f"bare gRPC call: CPU {time.process_time() - cpu:.3f} ms")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    uvloop.run(main())
