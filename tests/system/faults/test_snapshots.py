"""Claims C1 and C2 of what is done to a server: rebuilt, shelved, rescued, copied, while processes are killed."""

import asyncio
import random
import time
from contextlib import suppress
from http.client import HTTPException
from typing import Any

import pytest

from tests.http_client import Refused
from tests.processes import ProcessCloud
from tests.system.faults.storm import ROUNDS, SEED, clean, within_target
from tests.system.faults.tenant import Servers, Tenant

_RESTS = ("ACTIVE", "SHELVED_OFFLOADED", "RESCUE")
VICTIMS = ("controller", "agent", "etcd")


@pytest.mark.timeout(120 + 10 * ROUNDS)
def test_images_are_whole_or_gone_and_servers_as_before_whatever_is_killed(
    cloud: ProcessCloud, admin: Tenant
) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_FAULT_ROUNDS={ROUNDS}")
    chance, servers = random.Random(SEED), Servers(admin)
    id_ = servers.create(admin.http, "snapshotted")
    within_target(lambda: unsettled(admin, servers, id_))
    asked: list[dict[str, Any]] = [
        {"createImage": {"name": "made"}},
        {"rebuild": {"imageRef": admin.image}},
    ]
    for turn in range(max(4, ROUNDS // 2)):
        with suppress(
            OSError, HTTPException, Refused
        ):  # what the kill before has left; then nothing is asked
            admin.http.call("POST", f"/compute/v2.1/servers/{id_}/action", asked[turn % 2])
        time.sleep(chance.uniform(0, 0.6))
        victim = chance.choice(VICTIMS)
        cloud.kill(victim)
        cloud.start_process(victim)
        within_target(lambda: unsettled(admin, servers, id_), 60)
    images = admin.http.call("GET", "/image/v2/images?name=made")["images"]
    assert {image["status"] for image in images} <= {"active"}
    assert asyncio.run(clean(cloud)) == []
    for image in images:
        admin.http.call("DELETE", f"/image/v2/images/{image['id']}")
    servers.delete(admin.http, id_)
    within_target(lambda: "" if id_ not in servers.all(admin.http) else "still there")


@pytest.mark.timeout(120 + 10 * ROUNDS)
@pytest.mark.parametrize(
    ("goes", "returns", "away"),
    [("shelve", "unshelve", "SHELVED_OFFLOADED"), ("rescue", "unrescue", "RESCUE")],
)
def test_a_server_goes_to_the_shelf_or_into_rescue_and_comes_back_whatever_is_killed(
    cloud: ProcessCloud, admin: Tenant, goes: str, returns: str, away: str
) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_FAULT_ROUNDS={ROUNDS}")
    chance, servers = random.Random(SEED), Servers(admin)
    id_ = servers.create(admin.http, "stored")
    within_target(lambda: unsettled(admin, servers, id_))
    for _ in range(max(4, ROUNDS // 2)):
        is_away = servers.all(admin.http)[id_]["status"] == away
        with suppress(OSError, HTTPException, Refused):
            action = {returns if is_away else goes: None}
            admin.http.call("POST", f"/compute/v2.1/servers/{id_}/action", action)
        time.sleep(chance.uniform(0, 0.6))
        victim = chance.choice(VICTIMS)
        cloud.kill(victim)
        cloud.start_process(victim)
        within_target(lambda: unsettled(admin, servers, id_), 60)
        is_shelved = servers.all(admin.http)[id_]["status"] == "SHELVED_OFFLOADED"
        kept = admin.http.call("GET", "/image/v2/images?name=stored-shelved")["images"]
        assert [image["status"] for image in kept] == ["active"] * is_shelved
        assert asyncio.run(clean(cloud)) == []
    servers.delete(admin.http, id_)
    within_target(lambda: "" if id_ not in servers.all(admin.http) else "still there")
    assert admin.http.call("GET", "/image/v2/images?name=stored-shelved")["images"] == []


def unsettled(tenant: Tenant, servers: Servers, id_: str) -> str:
    """What goes on with the server; empty: it rests."""
    try:
        server = servers.all(tenant.http)[id_]
    except (OSError, HTTPException, Refused) as error:
        return f"the API does not answer: {error}"
    if server["status"] in _RESTS and server["OS-EXT-STS:task_state"] is None:
        return ""
    return str(server)
