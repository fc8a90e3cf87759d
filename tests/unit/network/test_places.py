"""Which nodes need what."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fabric.network.collection import DHCP_OWNER
from fabric.network.places import Place, Places, place
from fabric.network.v1.port_pb2 import Port

NODES, NETWORKS, GROUPS, PORTS = ("n1", "n2", "n3"), ("a", "b"), ("g", "h"), ("p", "q", "r")


def a_port(**facts: str) -> Port:
    port = Port()
    port.spec.network_id, port.spec.node = "a", "n1"
    for name, value in facts.items():
        setattr(port.spec, name, value)
    return port


def test_a_bound_port_is_on_its_node() -> None:
    assert place(a_port()) == Place("a", frozenset(), frozenset({"n1"}))


def test_a_port_that_moves_is_also_on_the_node_that_it_comes_to() -> None:
    assert place(a_port(target_node="n2")).nodes == {"n1", "n2"}


def test_a_port_on_its_way_out_and_a_dhcp_port_are_nowhere() -> None:
    going = a_port()
    going.meta.delete_time.GetCurrentTime()
    assert not place(going).nodes
    assert not place(a_port(device_owner=DHCP_OWNER)).nodes


class Counting(RuleBasedStateMachine):
    """Counted one change at a time is the same as counted at once."""

    def __init__(self) -> None:
        super().__init__()
        self.places = Places()
        self.ports: dict[str, Place] = {}

    @rule(
        port=st.sampled_from(PORTS),
        network=st.sampled_from(NETWORKS),
        groups=st.frozensets(st.sampled_from(GROUPS)),
        nodes=st.frozensets(st.sampled_from(NODES), max_size=2),
    )
    def put(self, port: str, network: str, groups: frozenset[str], nodes: frozenset[str]) -> None:
        new = Place(network, groups, nodes)
        before = self.nodes()
        networks, moved, members = self.places.put(port, new)
        old = self.ports.get(port)
        self.ports[port] = new
        self.changed(before, networks, moved)
        assert members == groups | (old.groups if old else frozenset())

    @rule(port=st.sampled_from(PORTS))
    def drop(self, port: str) -> None:
        before = self.nodes()
        networks, moved, _ = self.places.put(port, None)
        self.ports.pop(port, None)
        self.changed(before, networks, moved)

    def changed(self, before: dict[str, set[str]], networks: set[str], groups: set[str]) -> None:
        after = self.nodes()
        differs = {key for key in before | after if before.get(key) != after.get(key)}
        assert differs <= networks | groups

    def nodes(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for each in self.ports.values():
            for key in (each.network, *each.groups):
                if each.nodes:
                    found.setdefault(key, set()).update(each.nodes)
        return found

    @invariant()
    def as_counted_at_once(self) -> None:
        expected = self.nodes()
        assert {key: self.places.networks(key) for key in NETWORKS} == {
            key: expected.get(key, set()) for key in NETWORKS
        }
        assert {key: self.places.groups(key) for key in GROUPS} == {
            key: expected.get(key, set()) for key in GROUPS
        }


TestCounting = Counting.TestCase
