"""What the controller's loops tell nodes of networks and of each other's ports."""

from fabric.network.collection import AGENTS, NEIGHBORS, NETWORKS
from fabric.network.v1 import neighbor_pb2
from fabric.runtime.etcd import Change
from fabric.type.v1 import node_pb2
from tests.functional.network.harness import Cloud, until

NODES = {"n1": "192.0.2.1", "n2": "192.0.2.2"}


async def alive(cloud: Cloud, node: str) -> None:
    """The node's agent has shown that it lives."""
    life = node_pb2.Life(node=node, agent="network")
    life.detail["tunnel_address"] = NODES[node]
    change = Change(put={f"/fabric/nodes/{node}/network": cloud.store.codec.encode(life)})
    await cloud.store.etcd.commit(change)
    await until(lambda: any(agent.spec.node == node for agent in cloud.store.table(AGENTS)))


async def test_nodes_know_each_other_s_ports_of_a_network(cloud: Cloud) -> None:
    for node in NODES:
        await alive(cloud, node)
    network, _ = await cloud.network("10.1.0.0/24", "fd01::/64")
    ports = {}
    for node in NODES:
        ports[node] = await cloud.make(
            "port", network_id=network["id"], token="admin.admin", **{"binding:host_id": node}
        )

    def peers(node: str) -> dict[str, str]:
        want = cloud.store.wanted(NETWORKS, node).get(network["id"])
        return {} if want is None else {peer.node: peer.address for peer in want.peers}

    def neighbors(node: str) -> list[neighbor_pb2.Neighbor]:
        return [told for bundle in cloud.store.wanted(NEIGHBORS, node) for told in bundle.neighbors]

    def known(node: str) -> dict[str, str]:
        return {neighbor.port_id: neighbor.node for neighbor in neighbors(node)}

    placed = {port["id"]: node for node, port in ports.items()}

    await until(lambda: peers("n1") == {"n2": NODES["n2"]} and peers("n2") == {"n1": NODES["n1"]})
    await until(lambda: known("n1") == known("n2") == placed)
    (neighbor,) = (told for told in neighbors("n1") if told.node == "n2")
    assert neighbor.mac_address == ports["n2"]["mac_address"]
    assert list(neighbor.addresses) == [fixed["ip_address"] for fixed in ports["n2"]["fixed_ips"]]
    await cloud.store.etcd.commit(Change(delete={"/fabric/nodes/n2/network"}))  # its agent restarts
    third = await cloud.make(
        "port", network_id=network["id"], token="admin.admin", **{"binding:host_id": "n1"}
    )
    await until(lambda: third["id"] in known("n2"))
    assert peers("n1") == {"n2": NODES["n2"]}
    await cloud.put("port", third["id"], token="admin.admin", **{"binding:host_id": ""})
    await until(lambda: third["id"] not in known("n2"))
