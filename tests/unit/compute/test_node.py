"""What nodes say that they have."""

from typing import Any

import pytest

from fabric.compute.node import inventory
from fabric.type.v1.node_pb2 import Life


def a_life(**detail: Any) -> Life:
    life = Life(node="n1", agent="compute")
    life.detail.update(detail)
    return life


def test_an_inventory_is_what_the_agent_says() -> None:
    assert inventory(a_life(vcpus=4, later="x")).vcpus == 4


@pytest.mark.parametrize("vcpus", ["many", [1], {"a": 1}, 1e300, 0.5])
def test_what_is_no_inventory_is_nothing(vcpus: object) -> None:
    assert not inventory(a_life(vcpus=vcpus, ram_mib=64)).ListFields()
