"""Where frames go that leave the node."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from agents.network.forwarding import ANSWER, FLOOD, FORWARD, Forwarding
from fabric.network.v1.neighbor_pb2 import Neighbor

MAC = "fa:16:3e:00:00:01"
PEERS = {"a": "192.0.2.1", "b": "192.0.2.2"}


def a_neighbor(node: str, *addresses: str, mac: str = MAC) -> Neighbor:
    return Neighbor(network_id="net", port_id="p", mac_address=mac, addresses=addresses, node=node)


def test_a_neighbor_is_reached_through_its_node_and_answered_for() -> None:
    forwarding = Forwarding()
    forwarding.put("p", a_neighbor("a", "10.0.0.5"))
    assert forwarding.wanted() == {}
    forwarding.put_peers({"a": PEERS["a"]})
    assert forwarding.wanted() == {
        (FLOOD, "192.0.2.1"): "",
        (FORWARD, MAC): "192.0.2.1",
        (ANSWER, "10.0.0.5"): MAC,
        (ANSWER, "fe80::f816:3eff:fe00:1"): MAC,
    }


def test_an_address_that_moved_to_another_port_stays_when_the_first_goes() -> None:
    forwarding = Forwarding()
    forwarding.put_peers(PEERS)
    forwarding.put("p", a_neighbor("a", "10.0.0.5"))
    forwarding.put("q", a_neighbor("b", "10.0.0.5", mac="fa:16:3e:00:00:02"))
    forwarding.drop("p")
    assert forwarding.get((ANSWER, "10.0.0.5")) == "fa:16:3e:00:00:02"
    assert forwarding.get((FORWARD, MAC)) is None


class Changing(RuleBasedStateMachine):
    """Whatever changes, what is touched is enough to follow."""

    def __init__(self) -> None:
        super().__init__()
        self.forwarding = Forwarding()
        self.kernel: dict[tuple[str, str], str] = {}

    @rule(nodes=st.frozensets(st.sampled_from("ab")))
    def peers(self, nodes: frozenset[str]) -> None:
        self.forwarding.put_peers({node: PEERS[node] for node in nodes})

    @rule(port=st.sampled_from("pq"), node=st.sampled_from("ab"), last=st.integers(1, 2))
    def put(self, port: str, node: str, last: int) -> None:
        mac = f"fa:16:3e:00:00:0{'pq'.index(port)}"
        self.forwarding.put(port, a_neighbor(node, f"10.0.0.{last}", mac=mac))

    @rule(port=st.sampled_from("pq"))
    def drop(self, port: str) -> None:
        self.forwarding.drop(port)

    @invariant()
    def followed(self) -> None:
        touched, self.forwarding.touched = self.forwarding.touched, set()
        for key in touched:
            value = self.forwarding.get(key)
            self.kernel.pop(key, None)
            if value is not None:
                self.kernel[key] = value
        assert self.kernel == self.forwarding.wanted()


TestChanging = Changing.TestCase
