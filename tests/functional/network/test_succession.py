"""Another controller becomes the leader of what nodes are told of each other's ports."""

from collections.abc import Iterable
from typing import Any

from fabric.network.collection import MEMBERS, NEIGHBORS, NETWORKS, PORTS, SECURITY_GROUPS
from fabric.network.dhcp_placing import dhcp_port_id
from fabric.runtime.etcd import Change
from fabric.runtime.store import Collection
from tests.functional.network.harness import Cloud, until
from tests.functional.network.test_spread import NODES, alive

SPREAD = "network-spread"
FULL = 32  # things of a bundle


async def bound(cloud: Cloud, network: str, count: int) -> list[str]:
    """So many on each node."""
    body = [{"network_id": network, "binding:host_id": node} for node in NODES for _ in range(count)]
    reply = await cloud.call("POST", "/ports", {"ports": body}, token="admin.admin")
    assert reply.status_code == 201, reply.text
    return [port["id"] for port in reply.json()["ports"]]


async def another(cloud: Cloud, network: str) -> str:
    body = {"network_id": network, "binding:host_id": "n1"}
    return str((await cloud.make("port", token="admin.admin", **body))["id"])


def bundles(cloud: Cloud, collection: Collection[Any], node: str) -> list[Any]:
    """What the node is told of the collection."""
    return list(cloud.store.wanted(collection, node))


def told(cloud: Cloud, node: str) -> tuple[list[str], list[str]]:
    """The ports that a node is told of: as neighbors, and as members of groups."""
    neighbors = [one.port_id for bundle in bundles(cloud, NEIGHBORS, node) for one in bundle.neighbors]
    members = [one.port_id for bundle in bundles(cloud, MEMBERS, node) for one in bundle.members]
    return sorted(neighbors), sorted(members)


def complete(cloud: Cloud, network: str, known: Iterable[str]) -> bool:
    """Whether every node is told of all of these ports once, and of nothing else."""
    dhcp, ports = dhcp_port_id(network), sorted(known)
    wants = [cloud.store.wanted(NETWORKS, node).get(network) for node in NODES]
    placed = sorted(port.meta.id for port in cloud.store.table(PORTS) if port.spec.node)
    return (
        all(want is not None and len(want.peers) == len(NODES) - 1 for want in wants)
        and all(want is not None and want.dhcp_port.meta.id == dhcp for want in wants)
        and all(len(cloud.store.wanted(SECURITY_GROUPS, node)) == 1 for node in NODES)
        and all(told(cloud, node) == (ports, ports) for node in NODES)
        and placed == sorted([dhcp, *ports])
    )


async def revisions(cloud: Cloud) -> dict[str, int]:
    """Of all that nodes are told, but for the ports themselves."""
    found, _ = await cloud.store.etcd.scan("/fabric/network/node/")
    wants = {kv.key: kv.mod_revision for kv in found if "/want/" in kv.key}
    return {key: revision for key, revision in wants.items() if f"/want/{PORTS.name}/" not in key}


async def test_a_new_leader_writes_only_what_is_not_as_it_should_be(cloud: Cloud) -> None:
    for node in NODES:
        await alive(cloud, node)
    network = (await cloud.network("10.1.0.0/24", token="admin.admin"))[0]["id"]
    known = await bound(cloud, network, FULL)
    await until(lambda: complete(cloud, network, known), 30)
    assert len(bundles(cloud, NEIGHBORS, "n1")) > 1 < len(bundles(cloud, MEMBERS, "n1"))
    leaves = known.pop(0)  # so that the bundles are not what somebody who begins would make of the ports
    await cloud.delete("port", leaves, token="admin.admin")
    await cloud.store.etcd.commit(Change(put={PORTS.seen_key("n1", leaves): b'{"released": true}'}))
    await until(lambda: complete(cloud, network, known))
    before = await revisions(cloud)

    await cloud.depose(SPREAD)
    async with cloud.succeeded(SPREAD):
        known.append(await another(cloud, network))
        await until(lambda: complete(cloud, network, known))
        after = await revisions(cloud)
    changed = {key for key in before | after if before.get(key) != after.get(key)}
    assert len(changed) == 2 * len(NODES), changed  # the bundles that the new port came into


async def test_a_new_leader_ends_what_the_old_one_had_half_done(cloud: Cloud) -> None:
    for node in NODES:
        await alive(cloud, node)
    network = (await cloud.network("10.1.0.0/24", token="admin.admin"))[0]["id"]
    known = await bound(cloud, network, 3)
    await until(lambda: complete(cloud, network, known), 30)
    (neighbors,), (group,) = bundles(cloud, NEIGHBORS, "n1"), cloud.store.wanted(MEMBERS, "n2").ids()

    await cloud.depose(SPREAD)
    untold = await another(cloud, network)
    gone = known.pop()
    await cloud.put("port", gone, token="admin.admin", **{"binding:host_id": "", "security_groups": []})
    lost = Change(
        put={NEIGHBORS.want_key("n1", f"{network}.7"): cloud.store.codec.encode(neighbors)},  # in two bundles
        delete={MEMBERS.want_key("n2", group)},
    )
    await cloud.store.fresh((await cloud.store.etcd.commit(lost)).revision)
    async with cloud.succeeded(SPREAD):
        await until(lambda: complete(cloud, network, [*known, untold]))
