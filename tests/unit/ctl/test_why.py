"""The cause of a failure, told from what etcd holds and what the logs say."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fabric.compute.collection import ACTIONS
from fabric.compute.server import SERVERS
from fabric.compute.v1 import instance_action_pb2, migration_pb2
from fabric.compute.v1 import server_pb2 as pb
from fabric.ctl.glance import Glance
from fabric.ctl.log_lines import log_lines
from fabric.ctl.story import Story
from fabric.network.collection import NETWORKS, PORTS
from fabric.network.v1 import port_pb2
from fabric.runtime.etcd import Etcd
from fabric.runtime.store import Collection, Store
from tests.unit.ctl.shelf import Shelf

SERVER, PORT, REQUEST = "5e57e7-1", "b07-1", "req-1"
COLLECTIONS: list[Collection[Any]] = [SERVERS, ACTIONS, PORTS, NETWORKS]
State = pb.ServerStatus


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    etcd = Etcd(["127.0.0.1:1"])  # is not asked
    shelf_store = Store(etcd, Shelf().codec, COLLECTIONS)
    yield shelf_store
    await etcd.close()


async def why(store: Store, shelf: Shelf, id_: str) -> list[str]:
    return [line.strip() async for line in Story(Glance(store, shelf), None).tell(id_)]


def a_server(**fields: object) -> pb.Server:
    server = pb.Server(**fields)  # type: ignore[arg-type]
    server.meta.id, server.meta.name, server.meta.project_id = SERVER, "web", "p1"
    server.meta.request_id, server.meta.generation = REQUEST, 2
    server.meta.create_time.FromSeconds(1_800_000_000)
    return server


def placed(shelf: Shelf, status: pb.ServerStatus | None = None) -> pb.Server:
    server = a_server(node="n1")
    shelf.record(SERVERS, server)
    shelf.lay(SERVERS.want_key("n1", SERVER), pb.ServerWant(server=server))
    if status is not None:
        shelf.lay(SERVERS.seen_key("n1", SERVER), status)
    return server


async def test_what_no_node_could_take_names_the_filters(store: Store) -> None:
    shelf = Shelf()
    shelf.life("n1", "compute")
    fault = pb.Fault(code=500, message="No valid host was found. Capacity removed n1 (3 vcpus short of 4).")
    shelf.record(SERVERS, a_server(fault=fault))
    lines = await why(store, shelf, SERVER)
    assert lines[0] == f"server {SERVER} 'web': ERROR"
    assert lines[1] == f"cause: {fault.message}"


async def test_what_the_hypervisor_refused_is_told_in_its_words(store: Store) -> None:
    shelf = Shelf()
    shelf.life("n1", "compute")
    status = State(
        state=State.STATE_ERROR, reason="HYPERVISOR_REFUSED", message="no space", observed_generation=2
    )
    placed(shelf, status)
    lines = await why(store, shelf, SERVER)
    assert lines[1] == "cause: node n1: HYPERVISOR_REFUSED: no space"
    assert any("reported ERROR of generation 2" in line for line in lines)


async def test_a_silent_node_is_the_cause(store: Store) -> None:
    shelf = Shelf()
    shelf.life("n1", "network")
    placed(shelf, State(state=State.STATE_ACTIVE, observed_generation=1))
    assert "cause: the compute agent of node n1 is down" in await why(store, shelf, SERVER)


async def test_a_server_that_migrates_says_from_where_to_where(store: Store) -> None:
    shelf = Shelf()
    shelf.life("n1", "compute")
    server = placed(shelf, State(state=State.STATE_ACTIVE, observed_generation=2))
    server.move.migration_id, server.move.source, server.move.target = "m", "n1", "n2"
    server.move.phase = migration_pb2.MIGRATION_STATE_RUNNING
    shelf.record(SERVERS, server)
    assert "cause: it migrates from n1 to n2, RUNNING" in await why(store, shelf, SERVER)


async def test_a_server_that_waits_leads_to_the_port_that_it_waits_for(store: Store) -> None:
    shelf = Shelf()
    shelf.life("n1", "compute", "network")
    waits = State(
        state=State.STATE_BUILDING, observed_generation=1, reason="WAITING_FOR_PORT", message="Not ready."
    )
    server = placed(shelf, waits)
    server.nics.add(port_id=PORT)
    shelf.record(SERVERS, server)
    port = port_pb2.Port(spec=port_pb2.PortSpec(node="n1"))
    port.meta.id, port.meta.generation = PORT, 1
    shelf.record(PORTS, port)
    shelf.lay(PORTS.want_key("n1", PORT), port)
    building = port_pb2.PortStatus(state=port_pb2.PortStatus.STATE_BUILDING, reason="WAITING_FOR_NETWORK")
    shelf.lay(PORTS.seen_key("n1", PORT), building)
    lines = await why(store, shelf, SERVER)
    assert lines[1] == "cause: node n1 is at work on it: WAITING_FOR_PORT: Not ready."
    assert f"port {PORT}: BUILDING" in lines
    assert "cause: node n1 is at work on it: WAITING_FOR_NETWORK" in lines


async def test_what_is_well_says_so_and_who_asked_for_it(store: Store) -> None:
    shelf = Shelf()
    shelf.life("n1", "compute")
    placed(shelf, State(state=State.STATE_ACTIVE, observed_generation=2))
    action = instance_action_pb2.InstanceAction(server_id=SERVER, action="create", user_id="u1")
    action.meta.id, action.meta.request_id = f"{SERVER}:{REQUEST}", REQUEST
    shelf.record(ACTIONS, action)
    lines = await why(store, shelf, SERVER)
    assert lines[1] == "cause: nothing is wrong with it"
    assert any("create by user u1, request req-1" in line for line in lines)


async def test_a_request_leads_to_what_it_made(store: Store) -> None:
    shelf = Shelf()
    placed(shelf)
    assert (await why(store, shelf, REQUEST))[0].startswith(f"server {SERVER}")
    assert await why(store, shelf, "req-2") == []


async def test_nothing_is_known_of_strange_ids(store: Store) -> None:
    shelf = Shelf()
    placed(shelf)
    for id_ in ("", "/", "..", "nothing", "%2F"):
        assert await why(store, shelf, id_) == []


def test_logs_are_searched_for_the_words_and_kept_in_order(tmp_path: Path) -> None:
    def entry(second: int, level: str, event: str, **facts: str) -> str:
        stamp = f"2026-01-01T00:00:{second:02}Z"
        return json.dumps({"timestamp": stamp, "level": level, "event": event, **facts}) + "\n"

    (tmp_path / "gateway.log").write_text(
        entry(1, "info", "request", request_id="req-1") + entry(2, "info", "request", request_id="req-2")
    )
    (tmp_path / "agent.log").write_text(
        "not JSON but req-1\n" + entry(3, "error", "server failed", request_id="req-1", cause="no space")
    )
    (tmp_path / "empty.log").touch()
    assert log_lines(tmp_path, ["req-1"]) == [
        "2026-01-01T00:00:01Z gateway: request request_id=req-1",
        "2026-01-01T00:00:03Z agent: server failed request_id=req-1 cause=no space",
    ]
    assert log_lines(tmp_path, ["req-1"], most=1)[0].startswith("2026-01-01T00:00:03Z agent")
    assert log_lines(tmp_path / "nowhere", ["req-1"]) == []


@pytest.mark.parametrize("command", ["why", "sweep"])
def test_only_what_rests_in_etcd_is_imported_not_the_services(command: str) -> None:
    asked = f"import sys, fabric.ctl.{command}; print(*{{'oslo_policy', 'oslo_config'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
