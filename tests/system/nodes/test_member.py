"""How a machine joins and leaves, and what its certificate is good for in between."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agents.compute.driver import RUNNING
from agents.compute.shelf import Shelf
from fabric.compute.v1.compute_node_pb2 import ListZonesRequest
from fabric.compute.v1.compute_node_pb2_grpc import ComputeNodeRegistryServiceStub
from fabric.ctl.bed import Lab
from fabric.runtime.tls import CONTROLLER
from fabric.type.v1.holding_pb2 import ListHoldingsRequest
from fabric.type.v1.holding_pb2_grpc import HoldingServiceStub
from tests.processes import wait_for
from tests.size import FULL
from tests.system.faults.storm import complaints, within_target
from tests.system.faults.tenant import Servers, Tenant
from tests.system.nodes.conftest import There
from tests.system.nodes.probe import SHAPE, admitted, fabricctl, refusal, status, swept
from tests.system.nodes.test_lab import up

JOIN_S = 10.0 if FULL else 30.0  # 10, on a machine that does nothing else


def test_machine_without_a_good_token_is_refused(lab: Lab, there: There, tmp_path: Path) -> None:
    first = lab.directory / "node1"

    def join(command: str, *options: str) -> str:
        told: str = there(fabricctl, tmp_path, *command.split()[1:], *options)
        assert not (tmp_path / "fabric.toml").exists()
        return told

    token = there(fabricctl, first, "node", "token")
    assert "A node named node2 is alive" in join(token, "--node", "node2")
    assert "not for controllers" in join(token, "--node", "n", "--role", "controller")
    assert "cannot be the name" in join(token, "--node", "a/b")
    stranger = re.sub(r"[0-9a-f]{64}$", "0" * 64, token.strip())
    assert "not the cloud that the token is of" in join(stranger, "--node", "n")
    forged = re.sub(r"\.[\w-]{43}\.", f".{'x' * 43}.", token)
    assert "not known" in join(forged, "--node", "n")
    late = there(fabricctl, first, "node", "token", "--ttl", "0")
    assert "expired" in join(late, "--node", "n")


def test_node_joins_takes_servers_and_is_removed(lab: Lab, there: There, admin: Tenant) -> None:
    def node(*words: str) -> str:
        return str(there(fabricctl, lab.directory / "node1", "node", *words))

    began = time.monotonic()
    lab.up(replace(SHAPE, nodes=4))
    wait_for(lambda: "node4" in up(admin), JOIN_S, "node4 to take servers")
    print(f"node4 takes servers after {time.monotonic() - began:.1f} s")
    assert re.search(r"^node4 .* enabled +0", node("list"), re.MULTILINE)
    assert "node4 is alive" in node("remove", "node4")
    assert "node.pem holds until" in there(fabricctl, lab.directory / "node4", "renew", "--all")
    node("disable", "node4", "--reason", "goes soon")
    assert "disabled: goes soon" in node("show", "node4")
    assert "it has 0" in node("drain", "node4")
    lab.kill("node4")
    wait_for(lambda: "node4" not in up(admin), JOIN_S, "node4 to be down")
    assert node("remove", "node4") == ""
    assert "node4" not in node("list")
    gone = lab.config("node4")
    assert there(admitted, gone, [("scan", "/fabric/keys/"), ("scan", "/fabric/nodes/node4/")]) == [
        False,
        False,
    ]
    for address, peer, stub, rpc, request in (
        (lab.config("node1").agent.listen, "", HoldingServiceStub, "ListHoldings", ListHoldingsRequest()),
        (
            *(lab.config("node2").controller.listen, CONTROLLER),
            *(ComputeNodeRegistryServiceStub, "ListZones", ListZonesRequest()),
        ),
    ):
        assert "withdrawn" in there(refusal, gone, address, peer, stub, rpc, request)
    assert there(swept, lab.config("node1")) == []
    lab.forget("node4")


@pytest.mark.timeout(240)
def test_node_that_never_comes_back_is_removed_with_its_work_and_ends_what_it_runs(
    lab: Lab, there: There, admin: Tenant
) -> None:
    def node(*words: str) -> str:
        return str(there(fabricctl, lab.directory / "node1", "node", *words))

    lab.up(replace(SHAPE, nodes=4))
    wait_for(lambda: "node4" in up(admin), 3 * JOIN_S, "node4 to take servers")
    admin.make_network()
    admin.make_image()
    servers = Servers(admin, zone="nova:node4")
    stays, goes = (servers.create(admin.http, name) for name in ("stays", "goes"))
    within_target(lambda: complaints(admin, servers, []))
    lab.cut("node4")
    wait_for(lambda: "node4" not in up(admin), JOIN_S, "node4 to be down")
    servers.delete(admin.http, goes)
    assert f"still has servers {', '.join(sorted((stays, goes)))}" in node("remove", "node4")
    assert node("remove", "node4", "--lost") == ""
    assert "node4" not in node("list")
    within_target(lambda: complaints(admin, servers, []))
    assert {
        id_: found["OS-EXT-SRV-ATTR:host"] != "node4" for id_, found in servers.all(admin.http).items()
    } == {stays: True}
    assert there(swept, lab.config("node1")) == []
    shelf = Shelf(lab.config("node4").node.state_dir / "compute" / "fake")
    assert {id_: domain.found.power for id_, domain in shelf.items()} == dict.fromkeys((stays, goes), RUNNING)
    lab.heal("node4")
    wait_for(lambda: all(d.found.power != RUNNING for d in shelf.values()), 60, "node4 to end what it runs")
    servers.delete(admin.http, stays)
    within_target(lambda: str(list(servers.all(admin.http))).strip("[]"))
    lab.forget("node4")


def test_node_reads_and_writes_nothing_in_etcd_but_its_own(lab: Lab, there: There) -> None:
    mine, theirs = "/fabric/network/node/node3", "/fabric/network/node/node2"
    allowed = [
        ("put", f"{mine}/seen/ports/x"),
        ("put", "/fabric/nodes/node3/x"),
        ("scan", f"{mine}/want/"),
        ("scan", f"{mine}/seen/"),
        ("scan", "/fabric/keys/"),
    ]
    forbidden = [
        ("put", f"{mine}/want/ports/x"),
        ("put", f"{theirs}/seen/ports/x"),
        ("put", "/fabric/nodes/node2/network"),
        ("put", "/fabric/keys/tickets"),
        ("put", "/fabric/compute/servers/x"),
        ("scan", f"{theirs}/want/"),
        ("scan", "/fabric/nodes/node2/"),
        ("scan", "/fabric/node/"),
        ("scan", "/fabric/identity/"),
        ("scan", "/fabric/"),
    ]
    found = dict(
        zip(allowed + forbidden, there(admitted, lab.config("node3"), allowed + forbidden), strict=True)
    )
    assert found == dict.fromkeys(allowed, True) | dict.fromkeys(forbidden, False)


def test_caller_without_a_certificate_of_the_cloud_is_not_answered(lab: Lab, there: There) -> None:
    config = lab.config("node1")
    for address in (config.agent.listen, config.controller.listen):
        assert there(status, address, config.tls.ca_file, None) == "UNAVAILABLE"
        assert there(status, address, config.tls.ca_file, config) == "UNIMPLEMENTED"
