"""Live migrations that take their time: looked at, broken off, hurried; and the list of all."""

from collections.abc import Iterator

import pytest

from tests.functional.compute.api import Compute
from tests.functional.migration.nodes import Nodes
from tests.functional.migration.test_migrations import host, live, migrations
from tests.processes import wait_for


@pytest.fixture
def vast(admin: Compute) -> Iterator[str]:
    """A flavor whose servers take minutes to go."""
    flavor = {"name": "vast", "ram": 32768, "vcpus": 1, "disk": 1}
    id_ = str(admin.call("POST", "/flavors", {"flavor": flavor})["flavor"]["id"])
    yield id_
    admin.call("DELETE", f"/flavors/{id_}")


@pytest.fixture
def sent(admin: Compute, demo: Compute, vast: str) -> str:
    """A server that is being sent."""
    id_ = demo.boot(flavorRef=vast)
    admin.act(id_, "os-migrateLive", live(), version="2.25")
    wait_for(lambda: migrations(admin, id_) == [("live-migration", "running")], 30, "the sending")
    return id_


def path(admin: Compute, id_: str) -> str:
    """Of the migration of the server that goes on."""
    (found,) = admin.call("GET", f"/servers/{id_}/migrations", version="2.23")["migrations"]
    return f"/servers/{id_}/migrations/{found['id']}"


def test_one_that_goes_on_is_shown_with_its_progress(admin: Compute, demo: Compute, sent: str) -> None:
    assert demo.status("GET", f"/servers/{sent}/migrations", version="2.23") == 403
    assert admin.status("GET", f"/servers/{sent}/migrations", version="2.22") == 404
    wait_for(lambda: _shown(admin, sent)["memory_total_bytes"] == 32768 << 20, 30, "the progress")
    shown = _shown(admin, sent)
    assert (shown["source_compute"], shown["status"]) == (host(admin, sent), "running")
    assert shown["dest_compute"] not in (None, host(admin, sent))
    assert shown["project_id"] == demo.http.project_id
    assert {"uuid", "user_id", "memory_remaining_bytes", "disk_total_bytes"} <= shown.keys()
    assert not {"uuid", "user_id"} & _shown(admin, sent, "2.58").keys()
    assert "user_id" not in _shown(admin, sent, "2.79")
    admin.call("DELETE", path(admin, sent), version="2.24")
    admin.settle(sent, "ACTIVE")


def _shown(admin: Compute, id_: str, version: str = "2.80") -> dict[str, object]:
    found: dict[str, object] = admin.call("GET", path(admin, id_), version=version)["migration"]
    return found


def test_one_that_is_broken_off_leaves_the_server_running_where_it_was(
    admin: Compute, demo: Compute, nodes: Nodes, sent: str
) -> None:
    source, migration = host(admin, sent), path(admin, sent)
    watch = nodes.watch(sent)
    try:
        assert demo.status("DELETE", migration, version="2.24") == 403
        assert admin.status("DELETE", migration, version="2.23") == 404
        assert admin.status("DELETE", migration, version="2.24") == 202
        admin.settle(sent, "ACTIVE")
        nodes.settles_on(sent, source)
    finally:
        most = watch.most()
    assert (most, nodes.running(sent), host(admin, sent)) == (1, [source], source)
    assert migrations(admin, sent) == [("live-migration", "cancelled")]
    assert admin.refused("GET", migration, version="2.23")[0] == 404
    assert admin.refused("DELETE", migration, version="2.24") == (
        409,
        f"Cannot 'abort live migration' instance {sent} while it is in task_state None",
    )
    assert admin.refused("DELETE", f"/servers/{sent}/migrations/1", version="2.24") == (
        404,
        f"Migration 1 could not be found for server {sent}.",
    )


def test_one_that_is_hurried_is_over_at_once(admin: Compute, demo: Compute, nodes: Nodes, sent: str) -> None:
    source, action = host(admin, sent), f"{path(admin, sent)}/action"
    assert demo.status("POST", action, {"force_complete": None}, version="2.22") == 403
    assert admin.status("POST", action, {"force_complete": None}, version="2.22") == 202
    admin.settle(sent, "ACTIVE")
    assert host(admin, sent) != source
    nodes.settles_on(sent, host(admin, sent))
    assert migrations(admin, sent) == [("live-migration", "completed")]
    assert admin.refused("POST", action, {"force_complete": None}, version="2.22") == (
        409,
        f"Cannot 'force_complete' instance {sent} while it is in task_state None",
    )


def test_all_are_listed_by_pages_and_by_what_they_are(admin: Compute, demo: Compute, nodes: Nodes) -> None:
    id_ = demo.boot()
    for _ in range(3):
        admin.act(id_, "os-migrateLive", live(), version="2.25")
        admin.settle(id_, "ACTIVE")
    nodes.settles_on(id_, host(admin, id_))
    mine = f"instance_uuid={id_}"
    every = _listed(admin, mine)
    uuids = [m["uuid"] for m in every]
    assert len(set(uuids)) == 3
    assert [m["created_at"] for m in every] == sorted((m["created_at"] for m in every), reverse=True)
    assert _pages(admin, f"{mine}&limit=2") == [uuids[:2], uuids[2:]]
    source, target = every[0]["source_compute"], every[0]["dest_compute"]
    for query, found in (
        (f"host={target}", True),
        (f"source_compute={source}&status=completed&migration_type=live-migration", True),
        (f"source_compute={target}", False),
        ("migration_type=resize", False),
        ("status=error", False),
        (f"project_id={demo.http.project_id}&user_id={every[0]['user_id']}", True),
        ("user_id=nobody", False),
        (f"changes-since={every[0]['created_at']}", True),
        (f"changes-before={every[0]['created_at'].replace('20', '19', 1)}", False),
    ):
        assert (uuids[0] in [m["uuid"] for m in _listed(admin, f"{mine}&{query}")]) == found, query
    assert admin.refused("GET", "/os-migrations?user_id=x", version="2.79")[0] == 400
    assert admin.refused("GET", "/os-migrations?marker=x", version="2.59") == (400, "Marker x not found.")


def _pages(admin: Compute, query: str) -> list[list[str]]:
    """The ids page by page, as the links lead."""
    pages = []
    while query:
        page = admin.call("GET", f"/os-migrations?{query}", version="2.80")
        pages.append([m["uuid"] for m in page["migrations"]])
        (link,) = page.get("migrations_links") or [{"href": ""}]
        query = link["href"].partition("?")[2]
    return [page for page in pages if page]


def _listed(admin: Compute, query: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = admin.call("GET", f"/os-migrations?{query}", version="2.80")["migrations"]
    return found
