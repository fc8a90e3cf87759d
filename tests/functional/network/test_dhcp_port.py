"""The port of a network's DHCP: there with the first subnet that it serves, on a node that is alive."""

from typing import Any

from fabric.network.collection import NETWORKS, PORTS
from fabric.network.dhcp_placing import dhcp_port_id
from fabric.network.v1 import port_pb2
from fabric.runtime.etcd import Change
from tests.functional.network.harness import Cloud, until
from tests.functional.network.nodes import begin, end

ADMIN = "p9.admin"


def home(cloud: Cloud, network: dict[str, Any]) -> str | None:
    """The node that has the port; None: there is no port."""
    port = cloud.store.find(PORTS, dhcp_port_id(network["id"]))
    return port.spec.node if port is not None else None


def serving(cloud: Cloud, network: dict[str, Any], *nodes: str) -> set[str]:
    """Those of the nodes that are told to serve the network."""
    wants = {node: cloud.store.wanted(NETWORKS, node).get(network["id"]) for node in nodes}
    return {node for node, want in wants.items() if want is not None and want.HasField("dhcp_port")}


async def test_a_network_without_servers_is_served_by_a_node_that_lives(cloud: Cloud) -> None:
    await begin(cloud, "n1", "n2")
    network, (subnet,) = await cloud.network("10.1.0.0/24")
    await until(lambda: home(cloud, network) in ("n1", "n2"))
    first = str(home(cloud, network))
    other = "n2" if first == "n1" else "n1"
    await until(lambda: serving(cloud, network, "n1", "n2") == {first})
    (port,) = await cloud.find("port", f"network_id={network['id']}", token=ADMIN)
    assert (port["device_owner"], port["binding:host_id"], port["status"]) == ("network:dhcp", first, "DOWN")
    assert [fixed["subnet_id"] for fixed in port["fixed_ips"]] == [subnet["id"]]
    record = cloud.store.get(PORTS, port["id"])
    made = port_pb2.PortStatus(
        state=port_pb2.PortStatus.STATE_ACTIVE, observed_generation=record.meta.generation
    )
    seen = {PORTS.seen_key(first, port["id"]): cloud.store.codec.encode(made)}
    await cloud.store.fresh((await cloud.store.etcd.commit(Change(put=seen))).revision)
    assert (await cloud.show("port", port["id"]))["status"] == "ACTIVE"
    found = (await cloud.call("GET", f"/networks/{network['id']}/dhcp-agents", token=ADMIN)).json()["agents"]
    assert [agent["host"] for agent in found] == [first]

    await end(cloud, first)
    await until(lambda: home(cloud, network) == other)
    await until(lambda: serving(cloud, network, "n1", "n2") == {other})
    (moved,) = await cloud.find("port", f"network_id={network['id']}", token=ADMIN)
    assert (moved["id"], moved["fixed_ips"]) == (port["id"], port["fixed_ips"])

    await end(cloud, other)
    await begin(cloud, first)
    await until(lambda: home(cloud, network) == first)


async def test_it_is_where_the_network_has_ports(cloud: Cloud) -> None:
    await begin(cloud, "n1", "n2", "n3")
    network, _ = await cloud.network("10.1.0.0/24")
    await until(lambda: bool(home(cloud, network)))
    other = next(node for node in ("n1", "n2", "n3") if node != home(cloud, network))
    server = {"network_id": network["id"], "binding:host_id": other}
    await cloud.make("port", **server, token=ADMIN)
    await until(lambda: home(cloud, network) == other)
    await until(lambda: serving(cloud, network, "n1", "n2", "n3") == {other})


async def test_it_goes_with_the_last_subnet_that_it_serves(cloud: Cloud) -> None:
    network, (first, second) = await cloud.network("10.1.0.0/24", "10.2.0.0/24")
    await until(lambda: home(cloud, network) == "")  # nobody is alive
    await begin(cloud, "n1")
    await until(lambda: home(cloud, network) == "n1")
    await cloud.delete("subnet", first["id"])
    await until(lambda: len(cloud.store.get(PORTS, dhcp_port_id(network["id"])).spec.fixed_ips) == 1)
    await cloud.put("subnet", second["id"], enable_dhcp=False)
    await until(lambda: home(cloud, network) is None)
    await until(lambda: not serving(cloud, network, "n1"))
    await cloud.put("subnet", second["id"], enable_dhcp=True)
    await until(lambda: home(cloud, network) == "n1")
    await cloud.delete("subnet", second["id"])
    assert await cloud.find("port", f"network_id={network['id']}") == []
    await cloud.delete("network", network["id"])
