"""Nodes that are only what etcd says of them: life signs, wants, reports."""

from typing import Any

from google.protobuf import json_format

from fabric.network.collection import ROUTERS
from fabric.network.v1 import router_pb2
from fabric.runtime.etcd import Change
from fabric.type.v1 import node_pb2
from tests.functional.network.harness import Cloud


def _key(node: str) -> str:
    return f"/fabric/nodes/{node}/network"


async def begin(
    cloud: Cloud, *nodes: str, zone: str = "nova", physical: tuple[str, ...] | None = None
) -> None:
    """The nodes' network agents are alive."""
    for node in nodes:
        detail: dict[str, Any] = {"availability_zone": zone}
        if physical is not None:
            detail["physical_networks"] = dict.fromkeys(physical, "")
        life = json_format.ParseDict({"node": node, "agent": "network", "detail": detail}, node_pb2.Life())
        await _write(cloud, Change(put={_key(node): cloud.store.codec.encode(life)}))


async def end(cloud: Cloud, *nodes: str) -> None:
    """Their leases are gone."""
    await _write(cloud, Change(delete={_key(node) for node in nodes}))


async def report(cloud: Cloud, node: str, router_id: str, **status: Any) -> None:
    """What the node's agent says of a router."""
    said = router_pb2.RouterStatus(**status)
    await _write(cloud, Change(put={ROUTERS.seen_key(node, router_id): cloud.store.codec.encode(said)}))


async def _write(cloud: Cloud, change: Change) -> None:
    outcome = await cloud.store.etcd.commit(change)
    await cloud.store.fresh(outcome.revision)


def told(cloud: Cloud, node: str, router_id: str) -> router_pb2.RouterWant | None:
    """What the node must make true of the router."""
    want: router_pb2.RouterWant | None = cloud.store.wanted(ROUTERS, node).get(router_id)
    return want
