"""Claims C1 and C4 with the fake drivers: kill -9 of any process at random instants under load."""

import asyncio

import pytest

from fabric.runtime.config import load
from tests.processes import ProcessCloud
from tests.size import FULL, size
from tests.system.faults.conftest import PORT_LIMIT
from tests.system.faults.history import history, quota_faults
from tests.system.faults.storm import ROUNDS, SEED, clean, complaints, weathered, within_target
from tests.system.faults.tenant import Churn, Interfaces, Ports, Servers, Tenant

PARALLEL = size("FABRIC_PARALLEL", 25, 500)  # who create and delete at once
QUOTA_ROUNDS = size("FABRIC_QUOTA_ROUNDS", 3, 30)  # kills meanwhile


@pytest.mark.timeout(150 + 6 * ROUNDS)
def test_servers_and_interfaces_reach_their_targets_whatever_is_killed(
    cloud: ProcessCloud, admin: Tenant
) -> None:
    servers = Servers(admin)
    stays = servers.create(admin.http, "stays")
    within_target(lambda: complaints(admin, servers, []))
    interfaces = Interfaces(admin, stays)
    boots = [Churn(admin, servers, SEED * 10 + n) for n in range(3)]
    attaches = [Churn(admin, interfaces, SEED * 10 + 5 + n, most=4, pause_s=0.2) for n in range(2)]
    weathered(cloud, [*boots, *attaches], SEED, ROUNDS)
    within_target(lambda: complaints(admin, servers, boots) or complaints(admin, interfaces, attaches))
    assert [surprise for worker in (*boots, *attaches) for surprise in worker.surprises] == []
    within_target(lambda: "\n".join(asyncio.run(clean(cloud))))
    deleted = sum(len(worker.gone) for worker in boots)
    attached = sum(len(worker.gone) + len(worker.live) for worker in attaches)
    print(f"{deleted} servers came and went, {attached} interfaces came")
    assert deleted > (ROUNDS if FULL else 0)  # what is killed may be away for most of the time
    assert attached > (ROUNDS // 2 if FULL else 0)

    for id_ in servers.all(admin.http):
        servers.delete(admin.http, id_)
    within_target(lambda: str([*servers.all(admin.http), *Ports(admin).all(admin.http)]).strip("[]"))
    within_target(lambda: "\n".join(asyncio.run(clean(cloud))))


@pytest.mark.timeout(200 + 6 * QUOTA_ROUNDS + PARALLEL)
def test_usage_is_never_above_the_quota_and_what_there_is_at_every_revision(
    cloud: ProcessCloud, demo: Tenant
) -> None:
    ports = Ports(demo)
    joins = [Churn(demo, ports, SEED * 1000 + n, most=2, pause_s=PARALLEL / 500) for n in range(PARALLEL)]
    weathered(cloud, joins, SEED, QUOTA_ROUNDS)
    within_target(lambda: complaints(demo, ports, joins))
    assert [surprise for worker in joins for surprise in worker.surprises] == []
    gone, refused = sum(len(worker.gone) for worker in joins), sum(worker.over_quota for worker in joins)
    print(f"{gone} ports came and went, {refused} were too many")
    assert gone > 0
    assert refused > 0
    for id_ in ports.all(demo.http):
        ports.delete(demo.http, id_)
    within_target(lambda: str(list(ports.all(demo.http))).strip("[]"))
    within_target(lambda: "\n".join(asyncio.run(clean(cloud))))
    past = asyncio.run(history(load(cloud.config)))
    assert list(quota_faults(past, demo.http.project_id, PORT_LIMIT)) == []
