"""Servers that go from node to node, and from flavor to flavor."""

import statistics
import time

import pytest

from tests.functional.compute.api import Compute
from tests.functional.migration.nodes import Nodes
from tests.processes import wait_for
from tests.size import size

ROUNDS = size("FABRIC_DEATHS", 2, 100)  # of claim C7
AWAY_S = 20.0


def host(admin: Compute, id_: str) -> str:
    return str(admin.show(id_)["OS-EXT-SRV-ATTR:host"])


def migrations(admin: Compute, id_: str) -> list[tuple[str, str]]:
    found = admin.call("GET", f"/os-migrations?instance_uuid={id_}", version="2.23")["migrations"]
    return [(m["migration_type"], m["status"]) for m in found]


def live(host: str | None = None) -> dict[str, object]:
    return {"host": host, "block_migration": "auto"}


def test_a_live_migration_takes_the_running_server_with_its_ports(
    admin: Compute, demo: Compute, nodes: Nodes
) -> None:
    id_ = demo.boot()
    source, port = (
        host(admin, id_),
        demo.call("GET", f"/servers/{id_}/os-interface")["interfaceAttachments"][0],
    )
    admin.act(id_, "os-migrateLive", live(), version="2.25")
    admin.settle(id_, "ACTIVE")
    target = host(admin, id_)
    assert target != source
    nodes.settles_on(id_, target)
    path = f"/network/v2.0/ports/{port['port_id']}"
    assert admin.http.call("GET", path)["port"]["binding:host_id"] == target
    wait_for(lambda: migrations(admin, id_) == [("live-migration", "completed")], 30, "the migration's end")


def test_a_live_migration_goes_to_the_node_that_is_named(admin: Compute, demo: Compute, nodes: Nodes) -> None:
    id_ = demo.boot()
    source = host(admin, id_)
    for target in [node for node in ("node1", "node2", "node3") if node != source]:
        admin.act(id_, "os-migrateLive", live(target), version="2.25")
        admin.settle(id_, "ACTIVE")
        assert host(admin, id_) == target
        nodes.settles_on(id_, target)
    assert (
        admin.refused("POST", f"/servers/{id_}/action", {"os-migrateLive": live("nowhere")}, version="2.25")[
            0
        ]
        == 400
    )
    assert demo.status("POST", f"/servers/{id_}/action", {"os-migrateLive": live()}, version="2.25") == 403


def test_a_server_goes_back_to_a_node_that_has_yet_to_let_go_of_it(
    admin: Compute, demo: Compute, nodes: Nodes
) -> None:
    id_ = demo.boot()
    source = host(admin, id_)
    (other, *_) = [node for node in ("node1", "node2", "node3") if node != source]
    for target in (other, source) * 2:
        admin.act(id_, "os-migrateLive", live(target), version="2.25")
        admin.settle(id_, "ACTIVE")
        assert host(admin, id_) == target
    nodes.settles_on(id_, source)


@pytest.mark.parametrize(("then", "moved"), [("confirmResize", True), ("revertResize", False)])
def test_a_cold_migration_is_confirmed_or_reverted(
    admin: Compute, demo: Compute, nodes: Nodes, then: str, moved: bool
) -> None:
    id_ = demo.boot()
    source = host(admin, id_)
    admin.act(id_, "migrate")
    admin.settle(id_, "VERIFY_RESIZE")
    target = host(admin, id_)
    assert target != source
    assert nodes.running(id_) == [target]
    demo.act(id_, then)
    demo.settle(id_, "ACTIVE")
    nodes.settles_on(id_, target if moved else source)
    assert nodes.running(id_) == [host(admin, id_)]
    wait_for(lambda: migrations(admin, id_)[0][1] in ("confirmed", "reverted"), 30, "the migration's end")


@pytest.mark.parametrize("then", ["confirmResize", "revertResize"])
def test_a_resize_changes_the_flavor_and_what_is_charged(
    admin: Compute, demo: Compute, nodes: Nodes, then: str
) -> None:
    flavor = {"name": "big", "ram": 128, "vcpus": 2, "disk": 2}
    big = admin.call("POST", "/flavors", {"flavor": flavor})["flavor"]["id"]
    id_ = demo.boot()
    used = demo.call("GET", "/limits")["limits"]["absolute"]["totalRAMUsed"]
    demo.act(id_, "resize", {"flavorRef": big})
    demo.settle(id_, "VERIFY_RESIZE")
    assert demo.show(id_)["flavor"]["id"] == big
    assert demo.call("GET", "/limits")["limits"]["absolute"]["totalRAMUsed"] == used + 64
    demo.act(id_, then)
    demo.settle(id_, "ACTIVE")
    stays_big = then == "confirmResize"
    assert demo.show(id_)["flavor"]["id"] == (big if stays_big else demo.flavor)
    assert demo.call("GET", "/limits")["limits"]["absolute"]["totalRAMUsed"] == used + 64 * stays_big
    nodes.settles_on(id_, host(admin, id_))
    assert demo.refused("POST", f"/servers/{id_}/action", {"confirmResize": None})[0] == 409
    assert demo.refused("POST", f"/servers/{id_}/action", {"resize": {"flavorRef": "none"}})[0] == 400
    admin.call("DELETE", f"/flavors/{big}")


def test_a_stopped_server_stays_stopped_wherever_it_goes(admin: Compute, demo: Compute, nodes: Nodes) -> None:
    id_ = demo.boot()
    demo.act(id_, "os-stop")
    demo.settle(id_, "SHUTOFF")
    admin.act(id_, "migrate")
    admin.settle(id_, "VERIFY_RESIZE")
    assert nodes.running(id_) == []
    demo.act(id_, "confirmResize")
    demo.settle(id_, "SHUTOFF")


def test_a_server_is_deleted_while_it_waits_to_be_confirmed(
    admin: Compute, demo: Compute, nodes: Nodes
) -> None:
    id_ = demo.boot()
    admin.act(id_, "migrate")
    admin.settle(id_, "VERIFY_RESIZE")
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    assert nodes.holding(id_) == []


def test_a_migration_that_no_node_can_take_leaves_the_server_as_it_is(
    admin: Compute, demo: Compute, nodes: Nodes
) -> None:
    id_ = demo.boot()
    others = [node for node in ("node1", "node2", "node3") if node != host(admin, id_)]
    services = {"binary": "nova-compute"}
    for node in others:
        admin.call("PUT", "/os-services/disable", {"host": node, **services})
    try:
        admin.act(id_, "os-migrateLive", live(), version="2.25")
        wait_for(lambda: migrations(admin, id_) == [("live-migration", "error")], 30, "the refusal")
        admin.settle(id_, "ACTIVE")
        assert nodes.running(id_) == [host(admin, id_)]
    finally:
        for node in others:
            admin.call("PUT", "/os-services/enable", {"host": node, **services})


def test_a_server_of_a_dead_node_is_evacuated_and_the_node_comes_back_without_it(
    admin: Compute, demo: Compute, nodes: Nodes
) -> None:
    id_ = demo.boot()
    addresses, source = demo.addresses(id_), host(admin, id_)
    refused = admin.refused("POST", f"/servers/{id_}/action", {"evacuate": {}}, version="2.14")
    assert refused == (400, f"Compute service of {source} is still in use.")
    nodes.power_off(source)
    wait_for(
        lambda: admin.status("POST", f"/servers/{id_}/action", {"evacuate": {}}, version="2.14") == 200,
        30,
        "the node to be down",
    )
    admin.settle(id_, "ACTIVE")
    target = host(admin, id_)
    assert target != source
    assert demo.addresses(id_) == addresses
    assert migrations(admin, id_) == [("evacuation", "done")]
    nodes.start(source)
    wait_for(lambda: migrations(admin, id_) == [("evacuation", "completed")], 30, "the node to let go")
    nodes.settles_on(id_, target)


def test_a_highly_available_server_is_evacuated_by_itself(
    admin: Compute, demo: Compute, nodes: Nodes
) -> None:
    tag = f"/identity/v3/projects/{demo.http.project_id}/tags/fabric:ha"
    admin.http.call("PUT", tag)
    id_ = demo.boot()
    plain = demo.boot(metadata={"fabric:ha": "false"})
    admin.http.call("DELETE", tag)
    source = host(admin, id_)
    nodes.power_off(source)
    wait_for(lambda: host(admin, id_) != source, 30, "the server to go")
    admin.settle(id_, "ACTIVE")
    assert nodes.running(id_) == [host(admin, id_)]
    assert admin.show(plain)["OS-EXT-STS:task_state"] is None


@pytest.mark.timeout(120 + 30 * ROUNDS)
def test_a_highly_available_server_never_runs_twice(admin: Compute, demo: Compute, nodes: Nodes) -> None:
    id_ = demo.boot(metadata={"fabric:ha": "true"})
    away = [dies_and_comes_back(admin, nodes, id_, host(admin, id_)) for _ in range(ROUNDS)]
    print(f"{ROUNDS} rounds: away for {statistics.median(away):.1f} s, at most {max(away):.1f} s")


def dies_and_comes_back(admin: Compute, nodes: Nodes, id_: str, source: str) -> float:
    """How long the server was away, in seconds."""
    wait_for(lambda: id_ in nodes.fenced(source), 30, "the node to know")
    nodes.kill(source)  # what it started runs on, and nobody is there to stop it
    killed = time.monotonic()
    watch = nodes.watch(id_)
    try:
        wait_for(lambda: nodes.running(id_) not in ([], [source]), AWAY_S, "the server to run elsewhere")
        away = time.monotonic() - killed
        admin.settle(id_, "ACTIVE")
        nodes.start(source)
        nodes.settles_on(id_, host(admin, id_))
    finally:
        most = watch.most()
    assert most == 1
    return away
