"""What a QoS policy means for a port."""

from agents.network.limit import FRAMES, Bandwidth, Limits, PacketRate, frame_rules, limits
from agents.network.ruleset import Ruleset, transaction
from tests.unit.agents.network.wants import a_policy


def test_rates_are_in_bytes_and_bursts_are_chosen_when_nobody_did() -> None:
    want = a_policy(
        "p",
        bandwidth_limit__egress={"max_kbps": 8000},
        bandwidth_limit__ingress={"max_kbps": 8, "max_burst_kbps": 80},
        packet_rate_limit__egress={"max_kpps": 2},
        packet_rate_limit__ingress={"max_kpps": 1, "max_burst_kpps": 3},
        dscp_marking={"dscp_mark": 0},
    )
    assert limits(want) == Limits(
        out=Bandwidth(1_000_000, 100_000),
        into=Bandwidth(1000, 10_000),
        out_packets=PacketRate(2000, 100),
        into_packets=PacketRate(1000, 3000),
        dscp=0,
    )


def test_no_policy_and_rates_of_zero_limit_nothing() -> None:
    assert limits(None) == Limits()
    assert limits(a_policy("p", bandwidth_limit={}, packet_rate_limit={})) == Limits()


def test_the_highest_rate_fits_the_kernel() -> None:
    highest = limits(a_policy("p", bandwidth_limit={"max_kbps": 2**31 - 1})).out
    assert highest is not None
    assert highest.rate == 2**32 - 1


def test_a_table_is_there_only_when_a_port_needs_it() -> None:
    assert transaction(Ruleset(), frame_rules({"port-1": Limits(out=Bandwidth(1, 1))})) == ""
    want = frame_rules({"port-1": Limits(dscp=26), "port-2": Limits(into_packets=PacketRate(1000, 50))})
    assert want.sets[FRAMES, "from"] == {"tapport-1": "goto from-tapport-1"}
    assert want.sets[FRAMES, "to"] == {"tapport-2": "goto to-tapport-2"}
    assert transaction(Ruleset(), want).startswith("add table bridge fabric_qos\n")
    assert transaction(want, frame_rules({})) == "delete table bridge fabric_qos\n"
    assert transaction(want, want) == ""
