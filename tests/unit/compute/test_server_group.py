"""Placing the servers of a group, and beside or away from others."""

import pytest

from fabric.compute import placement
from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_group_pb2 import ServerGroupSpec

ROOM = {"compute.vcpus": 16, "compute.ram_mib": 4096, "compute.disk_gb": 100}


def node(name: str, members: int = 0, servers: frozenset[str] = frozenset()) -> placement.Candidate:
    return placement.Candidate(
        name=name,
        alive=True,
        enabled=True,
        zone="nova",
        capacity=ROOM,
        allocated={},
        group_servers=members,
        server_ids=servers,
    )


def server(**hints: str) -> pb.Server:
    return pb.Server(
        spec=pb.ServerSpec(
            flavor=pb.FlavorCopy(vcpus=1, ram_mib=64, root_gb=1),
            scheduler_hints=hints,
        )
    )


@pytest.mark.parametrize(
    ("policy", "most", "chosen"),
    [
        (ServerGroupSpec.POLICY_AFFINITY, 0, ["c"]),
        (ServerGroupSpec.POLICY_ANTI_AFFINITY, 0, ["a", "b"]),
        (ServerGroupSpec.POLICY_ANTI_AFFINITY, 3, ["a", "b", "c"]),
        (ServerGroupSpec.POLICY_SOFT_AFFINITY, 0, ["c", "a", "b"]),
        (ServerGroupSpec.POLICY_SOFT_ANTI_AFFINITY, 0, ["a", "b", "c"]),
    ],
)
def test_a_group_decides_where_its_next_server_goes(
    policy: ServerGroupSpec.Policy.ValueType, most: int, chosen: list[str]
) -> None:
    group = ServerGroupSpec(policy=policy, max_server_per_host=most)
    choice = placement.choose(server(), [node("a"), node("b"), node("c", members=2)], group)
    assert choice.nodes == chosen


def test_the_first_of_an_affinity_group_goes_anywhere() -> None:
    group = ServerGroupSpec(policy=ServerGroupSpec.POLICY_AFFINITY)
    assert placement.choose(server(), [node("a"), node("b")], group).nodes == ["a", "b"]


def test_why_an_anti_affinity_group_fits_nowhere_is_told() -> None:
    group = ServerGroupSpec(policy=ServerGroupSpec.POLICY_ANTI_AFFINITY)
    choice = placement.choose(server(), [node("a", members=1)], group)
    assert not choice.nodes
    assert choice.explain() == "ServerGroupAntiAffinity removed a (it has 1 of the group)"


def test_hints_name_servers_to_be_beside_or_away_from() -> None:
    nodes = [node("a", servers=frozenset({"x"})), node("b", servers=frozenset({"y"}))]
    assert placement.choose(server(same_host="x,z"), nodes).nodes == ["a"]
    assert placement.choose(server(different_host="x,z"), nodes).nodes == ["b"]
