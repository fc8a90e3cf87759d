"""Which providers can give together what is needed."""

import time
from collections.abc import Sequence

import pytest

from fabric.compute.allocation import SHARES, Forest
from fabric.compute.v1.consumer_pb2 import ListAllocationCandidatesRequest as Asked
from fabric.compute.v1.consumer_pb2 import Subtree
from fabric.compute.v1.resource_provider_pb2 import AnyOf, ProviderNeed, ResourceProvider

Taken = dict[str, dict[str, int]]


def provider(
    id_: str, parent: ResourceProvider | None = None, *words: str, agg: str = "", **totals: int
) -> ResourceProvider:
    made = ResourceProvider(root_id=parent.root_id if parent else id_)
    made.meta.id = id_
    made.spec.parent_id = parent.meta.id if parent else ""
    made.spec.traits.extend(words)
    made.spec.aggregate_ids.extend(agg.split())
    for name, total in totals.items():
        inventory = made.spec.inventories[name]
        inventory.total, inventory.max_unit, inventory.allocation_ratio = total, total, 1.0
        inventory.min_unit = inventory.step_size = 1
    return made


def need(suffix: str = "", traits: str = "", **resources: int) -> ProviderNeed:
    made = ProviderNeed(suffix=suffix, resources=resources)
    for trait in traits.split():
        if trait.startswith("!"):
            made.forbidden_traits.append(trait[1:])
        else:
            made.traits.add(names=trait.split("|"))
    return made


def found(providers: Sequence[ResourceProvider], *needs: ProviderNeed, **more: object) -> list[Taken]:
    asked = Asked(needs=needs, **more)  # type: ignore[arg-type]
    return [
        {part.provider_id: dict(part.resources) for part in candidate.allocations}
        for candidate in Forest(providers).candidates(asked)
    ]


def taken_of(candidates: list[Taken]) -> list[set[str]]:
    return sorted((set(taken) for taken in candidates), key=sorted)


CN1 = provider("cn1", None, "FAST", agg="a", VCPU=8, MEMORY_MB=4096)
CN2 = provider("cn2", None, agg="b", VCPU=8, MEMORY_MB=4096, DISK_GB=100)
DISK = provider("ss", None, SHARES, "SSD", agg="a", DISK_GB=1000)
NUMA0 = provider("numa0", CN1, "NUMA", VF=4)
NUMA1 = provider("numa1", CN1, "NUMA", VF=2)
NIC0 = provider("nic0", NUMA0, "NET", BW=10)
NIC1 = provider("nic1", NUMA1, "NET", BW=10)
TREE = [CN1, NUMA0, NUMA1, NIC0, NIC1]


def test_what_is_shared_by_an_aggregate_is_taken_with_what_the_node_has() -> None:
    asked = need(VCPU=1, DISK_GB=10)
    assert taken_of(found([CN1, CN2, DISK], asked)) == [{"cn1", "ss"}, {"cn2"}]


def test_without_the_trait_nothing_is_shared() -> None:
    plain = provider("plain", None, agg="a", DISK_GB=1000)
    assert taken_of(found([CN1, CN2, plain], need(VCPU=1, DISK_GB=10))) == [{"cn2"}]


def test_what_shares_gives_by_itself_too_and_only_once() -> None:
    assert taken_of(found([CN1, CN2, DISK], need(DISK_GB=10))) == [{"cn2"}, {"ss"}]


def test_several_may_have_the_traits_together_and_one_must_with_a_suffix() -> None:
    providers = [CN1, DISK]
    assert found(providers, need(traits="FAST SSD", VCPU=1, DISK_GB=10))
    assert not found(providers, need("_1", traits="FAST SSD", VCPU=1))
    assert not found(providers, need(traits="!SSD", VCPU=1, DISK_GB=10))
    assert found(providers, need(traits="SSD|SLOW", VCPU=1, DISK_GB=10))


def test_a_tree_that_is_named_has_no_part_of_what_is_shared_with_it() -> None:
    here = need(VCPU=1, DISK_GB=10)
    here.in_tree = "cn1"
    assert not found([CN1, CN2, DISK], here)
    apart = [need("_C", VCPU=1), need("_D", DISK_GB=10)]
    apart[0].in_tree, apart[1].in_tree = "cn1", "ss"
    assert taken_of(found([CN1, CN2, DISK], *apart)) == [{"cn1", "ss"}]


def test_an_aggregate_of_the_top_is_one_of_the_tree_unless_there_is_a_suffix() -> None:
    member = need(VF=1)
    member.aggregate_ids.add(names=["a"])
    assert taken_of(found(TREE, member)) == [{"numa0"}, {"numa1"}]
    member.suffix = "_1"
    assert not found(TREE, member)


def test_isolated_groups_take_of_different_providers() -> None:
    groups = [need("1", VF=2), need("2", VF=2)]
    assert len(found(TREE, *groups)) == 3  # twice of numa0, and one of each in both orders
    assert found(TREE, *groups, isolate=True) == [{"numa0": {"VF": 2}, "numa1": {"VF": 2}}] * 2


def test_groups_together_take_no_more_than_there_is() -> None:
    assert not found(TREE, need("1", VF=4), need("2", VF=4))


def test_isolation_is_found_where_most_combinations_are_none() -> None:
    ports = [provider(f"pf{n}", CN1, VF=1) for n in range(9)]
    groups = [need(str(n), VF=1) for n in range(9)]
    assert found([CN1, *ports], *groups, isolate=True)[0].keys() == {f"pf{n}" for n in range(9)}


def test_of_a_subtree_one_is_above_the_others() -> None:
    groups = [need("_N", VF=1), need("_B", BW=1)]
    assert len(found(TREE, *groups)) == 4
    near = found(TREE, *groups, subtrees=[Subtree(suffixes=["_N", "_B"])])
    assert taken_of(near) == [{"nic0", "numa0"}, {"nic1", "numa1"}]


def test_a_group_without_resources_only_has_to_be_there() -> None:
    groups = [need("_B", BW=1), need("_N", traits="NUMA")]
    asked = Asked(needs=groups, subtrees=[Subtree(suffixes=["_B", "_N"])])
    candidates = list(Forest(TREE).candidates(asked))
    assert [c.providers["_N"].names[0] for c in candidates] == ["numa0", "numa1"]
    assert all(len(c.allocations) == 1 for c in candidates)


def test_the_trees_of_what_only_has_to_be_there_are_told_too() -> None:
    asked = Asked(needs=[need(VCPU=1), need("_S", traits="SSD")])
    forest = Forest([CN1, DISK])
    (candidate,) = forest.candidates(asked)
    assert {*forest.tops(candidate)} == {"cn1", "ss"}


def test_the_top_of_the_tree_may_be_asked_for_traits() -> None:
    fast = ProviderNeed(traits=[AnyOf(names=["FAST"])])
    assert taken_of(found([CN1, CN2, DISK], need(VCPU=1), root=fast)) == [{"cn1"}]
    assert taken_of(found([CN1, CN2], need(VCPU=1), root=ProviderNeed(forbidden_traits=["FAST"]))) == [
        {"cn2"}
    ]


def test_flat_is_one_provider_of_a_tree() -> None:
    assert found(TREE, need(VCPU=1, VF=1))
    assert not found(TREE, need(VCPU=1, VF=1), flat=True)
    assert found([CN1, DISK], need(VCPU=1, DISK_GB=1), flat=True)


def test_what_is_used_is_not_given_again() -> None:
    full = provider("full", None, VCPU=8)
    full.used["VCPU"] = 7
    assert found([full], need(VCPU=1))
    assert not found([full], need(VCPU=2))


@pytest.mark.parametrize("isolate", [False, True])
def test_a_large_cloud_is_answered_soon_and_a_hopeless_question_ends(isolate: bool) -> None:
    nodes = [provider(f"n{n:04}", None, agg="a", VCPU=8, MEMORY_MB=4096, DISK_GB=10) for n in range(1000)]
    began = time.monotonic()
    assert len(found([*nodes, DISK], need(VCPU=1, MEMORY_MB=64, DISK_GB=5))) == 2000
    ports = [provider(f"{node.meta.id}-{n}", node, VF=1) for node in nodes[:100] for n in range(12)]
    hopeless = [need(str(n), VF=1) for n in range(13)]
    assert not found([*nodes, *ports], *hopeless, isolate=isolate)
    assert time.monotonic() - began < 30
