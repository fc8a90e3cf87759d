"""How a domain is sent to another node."""

import libvirt  # type: ignore[import-untyped]
import pytest

from agents.compute.live_migration import flags

LIVE = libvirt.VIR_MIGRATE_LIVE


@pytest.mark.parametrize(
    ("virt_type", "qemu", "runs"),
    [
        ("kvm", 7_002_022, True),
        ("qemu", 7_002_022, False),
        ("qemu", 8_002_010, False),
        ("qemu", 9_000_000, True),
    ],
)
def test_memory_is_sent_while_the_guest_runs_where_qemu_sees_what_it_writes(
    virt_type: str, qemu: int, runs: bool
) -> None:
    assert bool(flags(virt_type, qemu) & LIVE) == runs
