"""Which addresses the first external network gets."""

import ipaddress

import pytest

from fabric.ctl.outside import unused
from fabric.ctl.settings import Refused


@pytest.mark.parametrize(
    ("used", "chosen"),
    [
        ([], "172.24.4.0/24"),
        (["0.0.0.0/0", "10.0.0.0/8"], "172.24.4.0/24"),
        (["172.24.4.17/32"], "172.24.5.0/24"),
        (["172.24.0.0/20"], "172.24.16.0/24"),
    ],
)
def test_the_first_subnet_that_the_machine_does_not_use(used: list[str], chosen: str) -> None:
    assert str(unused(map(ipaddress.IPv4Network, used))) == chosen


def test_a_machine_that_uses_all_of_them_is_asked_for_another() -> None:
    with pytest.raises(Refused, match="--public"):
        unused([ipaddress.IPv4Network("172.16.0.0/12")])
