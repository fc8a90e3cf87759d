"""What joins a network's bridge to the world."""

import uuid

import pytest

from agents.network.segment import Interface, Outlet, has_outlet, uplink
from fabric.network.v1 import network_pb2
from fabric.runtime.errors import FailedPrecondition
from tests.unit.agents.network.wants import a_network, a_subnet

PHYSICAL = {"public": "", "lan": "eth1"}


def a_want(
    kind: str, physical: str = "", *, external: bool = False, vlan: int = 0
) -> network_pb2.NetworkWant:
    network_id = str(uuid.uuid4())
    subnet = a_subnet(network_id, "203.0.113.0/24", gateway="203.0.113.1")
    want = a_network(subnet, network_id=network_id, dhcp=())
    spec = want.network.spec
    spec.network_type, spec.physical_network, spec.external = kind, physical, external
    spec.segmentation_id = vlan
    return want


def test_tenant_networks_lead_nowhere() -> None:
    assert uplink(a_want("vxlan"), PHYSICAL) is None
    assert uplink(a_want("local"), PHYSICAL) is None


def test_an_external_network_without_an_interface_leads_to_the_node() -> None:
    for want in (a_want("vxlan", external=True), a_want("flat", "public")):
        found = uplink(want, PHYSICAL)
        assert isinstance(found, Outlet)
        assert found.addresses == ("203.0.113.1/24",)
        assert has_outlet(want, PHYSICAL)


def test_a_physical_network_leads_to_its_interface() -> None:
    assert uplink(a_want("flat", "lan"), PHYSICAL) == Interface("eth1")
    assert uplink(a_want("vlan", "lan", vlan=7), PHYSICAL) == Interface("eth1", 7)
    assert not has_outlet(a_want("flat", "lan", external=True), PHYSICAL)


def test_a_node_without_the_physical_network_says_so() -> None:
    with pytest.raises(FailedPrecondition) as error:
        uplink(a_want("flat", "elsewhere"), PHYSICAL)
    assert error.value.reason == "PHYSICAL_NETWORK_MISSING"
