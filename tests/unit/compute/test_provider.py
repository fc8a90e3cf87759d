"""What providers can give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.compute.inventory import inventories, limit
from fabric.compute.provider import gives, shortfall
from fabric.compute.v1.compute_node_pb2 import ComputeNode
from fabric.compute.v1.inventory_pb2 import Inventory
from fabric.compute.v1.node_pb2 import ComputeInventory
from fabric.compute.v1.resource_provider_pb2 import AnyOf, ProviderNeed, ResourceProvider
from fabric.runtime.config import Compute

OPERATORS = Inventory(total=99, reserved=1, allocation_ratio=1.0)


def a_provider(id_: str, traits: tuple[str, ...] = (), **totals: int) -> ResourceProvider:
    made = ResourceProvider(root_id=id_)
    made.meta.id = id_
    made.spec.traits.extend(traits)
    for name, total in totals.items():
        made.spec.inventories[name].CopyFrom(
            Inventory(total=total, min_unit=1, max_unit=total, step_size=1, allocation_ratio=1.0)
        )
    return made


def a_node(**spec: Inventory) -> ComputeNode:
    node = ComputeNode(inventory=ComputeInventory(vcpus=4, ram_mib=1024, cpu_allocation_ratio=8.0))
    for name, inventory in spec.items():
        node.spec.inventories[name].CopyFrom(inventory)
    return node


@pytest.mark.parametrize(
    ("said", "metadata", "vcpus"),
    [
        ({}, {}, 32),
        ({}, {"cpu_allocation_ratio": frozenset({"2.0", "3"})}, 8),
        ({}, {"cpu_allocation_ratio": frozenset({"many"})}, 32),
        ({"VCPU": OPERATORS}, {"cpu_allocation_ratio": frozenset({"2"})}, 3),
    ],
)  # fmt: skip
def test_an_operators_word_goes_before_an_aggregates_and_that_before_the_nodes(
    said: dict[str, Inventory], metadata: dict[str, frozenset[str]], vcpus: int
) -> None:
    assert limit(inventories(a_node(**said), metadata, Compute())["VCPU"]) == vcpus


def test_what_the_node_does_not_say_the_controller_does() -> None:
    assert limit(inventories(a_node(), {}, Compute(ram_allocation_ratio=2.0))["MEMORY_MB"]) == 2048


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 60))
def test_the_shortfall_added_to_the_total_is_enough(total: int, taken: int, amount: int) -> None:
    provider = a_provider("p", VCPU=total)
    provider.spec.inventories["VCPU"].max_unit = 60
    provider.used["VCPU"] = taken
    fault = shortfall(provider, "VCPU", amount)
    if fault:
        provider.spec.inventories["VCPU"].total += int(fault.split()[0])
    assert shortfall(provider, "VCPU", amount) == ""


def test_units_are_kept() -> None:
    provider = a_provider("p", VCPU=8)
    provider.spec.inventories["VCPU"].step_size = 2
    assert "in steps of 2" in shortfall(provider, "VCPU", 3)
    assert "from 1 to 8" in shortfall(provider, "VCPU", 10)
    assert shortfall(provider, "DISK_GB", 1) == "it has no inventory of DISK_GB"


def test_one_of_several_traits_may_do() -> None:
    provider = a_provider("p", traits=("A", "C"), VCPU=1)
    assert gives(provider, ProviderNeed(traits=[AnyOf(names=["A", "B"]), AnyOf(names=["C"])]))
    assert not gives(provider, ProviderNeed(traits=[AnyOf(names=["B"])]))
    assert not gives(provider, ProviderNeed(forbidden_traits=["C"]))
