"""Claims C1, C4 and C5 with the fake drivers: kill -9 of any process at random instants under load."""

import asyncio

import pytest

from fabric.runtime.config import load
from tests.processes import ProcessCloud
from tests.system.faults.conftest import PORT_LIMIT
from tests.system.faults.history import history, quota_faults
from tests.system.faults.storm import ROUNDS, SEED, clean, complaints, weathered, within_target
from tests.system.faults.tenant import Churn, Ports, Servers, Tenant


@pytest.mark.timeout(150 + 6 * ROUNDS)
def test_servers_and_ports_reach_their_targets_whatever_is_killed(
    cloud: ProcessCloud, admin: Tenant, demo: Tenant
) -> None:
    servers, ports = Servers(admin), Ports(demo)
    boots = [Churn(admin, servers, SEED * 10 + n) for n in range(3)]
    joins = [Churn(demo, ports, SEED * 10 + 5 + n) for n in range(3)]
    weathered(cloud, [*boots, *joins], SEED, ROUNDS)
    within_target(lambda: complaints(admin, servers, boots) or complaints(demo, ports, joins))
    assert [surprise for worker in (*boots, *joins) for surprise in worker.surprises] == []
    assert asyncio.run(clean(cloud)) == []
    assert sum(len(worker.gone) for worker in boots) > ROUNDS  # something was done meanwhile
    assert sum(worker.over_quota for worker in joins) > 0

    for tenant, kind in ((admin, servers), (demo, ports)):
        for id_ in kind.all(tenant.http):
            kind.delete(tenant.http, id_)
    within_target(lambda: str([*servers.all(admin.http), *ports.all(demo.http)]).strip("[]"))
    assert asyncio.run(clean(cloud)) == []
    past = asyncio.run(history(load(cloud.config)))
    assert list(quota_faults(past, demo.http.project_id, PORT_LIMIT)) == []
