"""Placing the servers of a group, and beside or away from others."""

import pytest

from fabric.compute import placement
from fabric.compute.candidate import Ask, Candidate
from fabric.compute.v1 import server_pb2 as pb
from fabric.compute.v1.server_group_pb2 import ServerGroupSpec

ROOM = {"compute.vcpus": 16, "compute.ram_mib": 4096, "compute.disk_gb": 100}


def node(name: str) -> Candidate:
    return Candidate(name=name, alive=True, enabled=True, zone="nova", capacity=ROOM, allocated={})


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
    ask = Ask(server(), group, {"c": 2})
    choice = placement.choose(ask, [node("a"), node("b"), node("c")])
    assert choice.nodes == chosen


def test_the_first_of_an_affinity_group_goes_anywhere() -> None:
    group = ServerGroupSpec(policy=ServerGroupSpec.POLICY_AFFINITY)
    assert placement.choose(Ask(server(), group), [node("a"), node("b")]).nodes == ["a", "b"]


def test_why_an_anti_affinity_group_fits_nowhere_is_told() -> None:
    group = ServerGroupSpec(policy=ServerGroupSpec.POLICY_ANTI_AFFINITY)
    choice = placement.choose(Ask(server(), group, {"a": 1}), [node("a")])
    assert not choice.nodes
    assert choice.explain() == "ServerGroupAntiAffinity removed a (it has 1 of the group)"


def test_hints_name_servers_to_be_beside_or_away_from() -> None:
    nodes, where = [node("a"), node("b")], {"x": "a", "y": "b"}
    assert placement.choose(Ask(server(same_host="x,z"), nodes=where), nodes).nodes == ["a"]
    assert placement.choose(Ask(server(different_host="x,z"), nodes=where), nodes).nodes == ["b"]
