"""Which physical networks a node has."""

from typing import Any

import pytest

from fabric.network.reach import physical_networks
from fabric.type.v1.node_pb2 import Life


@pytest.mark.parametrize(
    ("said", "names"),
    [(["a", "b"], {"a", "b"}), ({"a": "eth0"}, {"a"}), (5, set()), ("ab", set()), (None, set())],
)
def test_physical_networks_are_named_in_a_list_or_with_their_interfaces(said: Any, names: set[str]) -> None:
    life = Life(node="n1", agent="network")
    life.detail["physical_networks"] = said
    assert physical_networks(life) == names
