"""Real guests: how long one that migrates live is silent, and how long it takes, from node to node of a lab.

The pause is what a ping from outside sees every 10 ms: besides the guest's own, the way of its frames to the other
node. Needs root.
"""

import statistics
import tempfile
import time
from pathlib import Path

from fabric.ctl.bed import OUTSIDE, Lab, Shape
from tests.processes import wait_for
from tests.system.faults.namespace import entered
from tests.system.faults.tenant import Tenant
from tests.system.nodes.guest import Guest, silence_s

ROUNDS = 7


def measure() -> dict[str, float]:
    """Medians: pause_ms, and total_s from the call until the server is at rest."""
    with tempfile.TemporaryDirectory(prefix="fabric-bench-") as directory:
        lab = Lab(Path(directory) / "lab")
        try:
            lab.up(Shape(nodes=2, guest=True))
            outside = lab.machine(OUTSIDE).process
            assert outside is not None
            boot = lab.config("node1").bootstrap
            with (
                entered(outside.pid),
                Tenant(boot.public_url, "admin", boot.admin_password) as admin,
            ):
                guest = Guest(lab, admin)
                wait_for(guest.answers, 60, "the guest to answer")
                rounds = [_migrate(guest) for _ in range(ROUNDS)]
        finally:
            lab.down()
    pauses, totals = zip(*rounds, strict=True)
    return {"pause_ms": statistics.median(pauses) * 1000, "total_s": statistics.median(totals)}


def _migrate(guest: Guest) -> tuple[float, float]:
    with guest.pinged() as replies:
        began = time.monotonic()
        target = guest.migrate()
        wait_for(lambda: guest.arrived(target), 60, "the guest to arrive")
        total_s = time.monotonic() - began
        replies.go_on(100)
    return silence_s(replies.told), total_s
