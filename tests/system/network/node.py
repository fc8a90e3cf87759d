"""A node as a process of its own, with its own network and mount namespace and a real network agent.

The test tells it what is wanted of it, one JSON line a change, and reads what the agent reports.
"""

import asyncio
import contextlib
import ctypes
import json
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from pyroute2 import IPRoute

from agents.network import netns
from agents.network.settings import NetworkSettings
from fabric.network.v1 import neighbor_pb2, network_pb2, port_pb2, router_pb2, security_group_pb2
from fabric.runtime import log
from tests.system.network.lab import HERE, Cloud, running, until

_KINDS: dict[str, type[Message]] = {
    "networks": network_pb2.NetworkWant,
    "ports": port_pb2.Port,
    "groups": security_group_pb2.SecurityGroupWant,
    "members": security_group_pb2.GroupMember,
    "neighbors": neighbor_pb2.Neighbor,
    "routers": router_pb2.RouterWant,
}
_CLONE_NEWNS, _CLONE_NEWNET = 0x20000, 0x40000000
_MS_REC_PRIVATE = 0x4000 | 0x40000


class Node:
    """The test's side."""

    def __init__(self, name: str, address: str, process: asyncio.subprocess.Process) -> None:
        self.name, self.address, self._process = name, address, process
        self.namespace = f"/proc/{process.pid}/ns/net"
        self.seen: dict[tuple[str, str], dict[str, Any]] = {}

    def want(self, collection: str, id_: str, want: Message | None) -> None:
        """Tell the agent; None: no more."""
        text = None if want is None else json_format.MessageToDict(want, preserving_proto_field_name=True)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([collection, id_, text]).encode() + b"\n")

    async def settled(self, collection: str, *ids: str, within_s: float = 15.0) -> None:
        """Return when the agent has reported all of them as ACTIVE."""

        def active(id_: str) -> bool:
            return bool(self.seen.get((collection, id_), {}).get("state") == "STATE_ACTIVE")

        await until(lambda: all(map(active, ids)), within_s)

    async def follow(self) -> None:
        """Read what the agent reports until it ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            collection, id_, status = json.loads(line)
            self.seen[collection, id_] = status


@contextlib.asynccontextmanager
async def nodes(directory: Path, count: int = 2) -> AsyncIterator[list[Node]]:
    """Nodes that reach each other by a bridge in the present namespace."""
    async with contextlib.AsyncExitStack() as stack:
        started = [
            await stack.enter_async_context(_started(directory / f"n{i}", f"n{i}", f"192.0.2.{i}"))
            for i in range(1, count + 1)
        ]
        netns.call(HERE, lambda: _join(started))
        yield started


def _join(started: list[Node]) -> None:
    with contextlib.closing(IPRoute()) as netlink:
        netlink.link("add", ifname="underlay", kind="bridge")
        bridge = netlink.link_lookup(ifname="underlay")[0]
        netlink.link("set", index=bridge, state="up")
        for node in started:
            _connect(netlink, bridge, node)


def _connect(netlink: Any, bridge: int, node: Node) -> None:
    pid = int(node.namespace.split("/")[2])
    netlink.link("add", ifname=f"to-{node.name}", kind="veth", peer={"ifname": "uplink", "net_ns_pid": pid})
    netlink.link("set", index=netlink.link_lookup(ifname=f"to-{node.name}")[0], master=bridge, state="up")

    def inside() -> None:
        with contextlib.closing(IPRoute()) as there:
            index = there.link_lookup(ifname="uplink")[0]
            there.addr("add", index=index, address=node.address, prefixlen=24)
            there.link("set", index=index, state="up")

    netns.call(node.namespace, inside)


@contextlib.asynccontextmanager
async def _started(directory: Path, name: str, address: str) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, str(directory), address,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdout.readline()  # it is in its namespaces
    node = Node(name, address, process)
    reader = asyncio.create_task(node.follow())
    try:
        yield node
    finally:
        process.stdin.close()
        await process.wait()
        await reader


class _Told(Cloud):
    """What the test has told; each report is a line."""

    def tell(self, collection: str, id_: str, text: dict[str, Any] | None) -> None:
        store = getattr(self, collection)
        if text is None:
            store.unbind(id_)
        else:
            store.bind(id_, json_format.ParseDict(text, _KINDS[collection]()))

    async def follow(self) -> None:
        said = {"networks": 0, "ports": 0, "routers": 0}
        while True:
            for collection in said:
                store = getattr(self, collection)
                for id_, status in store.reports[said[collection] :]:
                    text = json_format.MessageToDict(status, preserving_proto_field_name=True)
                    print(json.dumps([collection, id_, text]), flush=True)
                said[collection] = len(store.reports)
            await asyncio.sleep(0.01)


async def _main(directory: Path, address: str) -> None:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    print(flush=True)
    cloud = _Told()
    settings = NetworkSettings(grace=timedelta(seconds=30), tunnel_address=address)
    async with running(cloud, directory, settings):
        reporter = asyncio.create_task(cloud.follow())
        async for line in reader:
            cloud.tell(*json.loads(line))
        reporter.cancel()


if __name__ == "__main__":
    log.configure("node", form="console")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) == 0
    assert libc.mount(b"none", b"/", None, _MS_REC_PRIVATE, None) == 0
    netns.RUN.mkdir(parents=True, exist_ok=True)
    assert libc.mount(b"none", str(netns.RUN).encode(), b"tmpfs", 0, None) == 0
    with contextlib.closing(IPRoute()) as own:
        own.link("set", index=1, state="up")
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
