"""Kills at random instants while users work, and what must be so some seconds later."""

import os
import random
import time
from collections.abc import Callable, Sequence

from fabric.ctl.sweep import sweep
from fabric.runtime.config import load
from tests.processes import ProcessCloud
from tests.size import FULL, size
from tests.system.faults.tenant import Churn, Kind, Tenant

ROUNDS = size("FABRIC_FAULT_ROUNDS", 10, 200)  # kills in one storm
SEED = int(os.environ.get("FABRIC_FAULT_SEED", str(random.randrange(10**6))))
TARGET_S = 30.0 if FULL else 90.0  # 30, on a machine that does nothing else
VICTIMS = ("gateway", "controller", "agent", "etcd")


def storm(cloud: ProcessCloud, chance: random.Random, rounds: int, victims: Sequence[str] = VICTIMS) -> None:
    """kill -9, a while without it or none, and start again; so many times."""
    for _ in range(rounds):
        time.sleep(chance.uniform(0.2, 2.0))
        victim = chance.choice(victims)
        cloud.kill(victim)
        time.sleep(chance.choice([0.0, chance.uniform(0, 0.7)]))
        cloud.start_process(victim)


def weathered(cloud: ProcessCloud, workers: Sequence[Churn], seed: int, rounds: int) -> None:
    """A storm over the workers, who stop after it."""
    print(f"FABRIC_FAULT_SEED={seed} FABRIC_FAULT_ROUNDS={rounds}")
    for worker in workers:
        worker.start()
    try:
        storm(cloud, random.Random(seed), rounds)
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.end()


def within_target(look: Callable[[], str], target_s: float = TARGET_S) -> None:
    """Look until there is nothing to complain of; after the target that is a failure."""
    deadline = time.monotonic() + target_s
    while complaint := look():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.25)


def complaints(tenant: Tenant, kind: Kind, workers: Sequence[Churn]) -> str:
    """What is not as its users asked for it; empty: nothing."""
    try:
        found = kind.all(tenant.http)
    except (OSError, RuntimeError) as error:
        return f"the API does not answer: {error}"
    live = {id_ for worker in workers for id_ in worker.live}
    gone = {id_ for worker in workers for id_ in worker.gone}
    if lost := live - set(found):
        return f"acknowledged and lost: {lost}"
    if left := gone & set(found):
        return f"deleted and still there: {[found[id_] for id_ in left]}"
    for item in found.values():
        if item.get("status") not in _RESTS or item.get("OS-EXT-STS:task_state"):
            return f"on its way or failed: {item}"
    return ""


_RESTS = ("ACTIVE", "DOWN")  # a server that runs; a port that nobody has bound


async def clean(cloud: ProcessCloud) -> list[str]:
    """What `fabricctl sweep` says."""
    return await sweep(load(cloud.config))
