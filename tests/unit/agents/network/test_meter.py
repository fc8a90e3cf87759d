"""What a metering label counts."""

from agents.network.meter import TABLE, rules
from agents.network.name import router_port
from fabric.network.v1 import metering_pb2
from tests.unit.agents.network.wants import a_network, a_router, a_router_port, a_subnet


def a_label(*specs: metering_pb2.MeteringLabelRuleSpec) -> metering_pb2.MeteringLabelWant:
    want = metering_pb2.MeteringLabelWant()
    want.metering_label.meta.id = "l"
    for at, spec in enumerate(specs):
        rule = want.rules.add(spec=spec)
        rule.meta.id = str(at)
    return want


def test_what_is_excluded_comes_first_and_a_packet_counts_once() -> None:
    network = a_network(a_subnet("n"), network_id="n")
    router = a_router(a_router_port(network, "10.0.0.1"), a_router_port(network, "10.0.0.2", gateway=True))
    device = router_port(router.ports[1].port.meta.id)
    kind = metering_pb2.MeteringLabelRuleSpec
    label = a_label(
        kind(direction="ingress", remote_ip_prefix="10.0.0.0/24"),
        kind(direction="egress", source_ip_prefix="fd00::/64", destination_ip_prefix="2001:db8::/32"),
        kind(direction="egress", remote_ip_prefix="10.0.0.7/32", excluded=True),
    )
    found = rules(router, [label]).rules
    assert found[TABLE, "passing"] == ["jump label-l"]
    assert found[TABLE, "label-l"] == [
        f'oifname {{ "{device}" }} ip saddr 10.0.0.7/32 return',
        f'iifname {{ "{device}" }} ip daddr 10.0.0.0/24 counter name label-l return',
        f'oifname {{ "{device}" }} ip6 saddr fd00::/64 ip6 daddr 2001:db8::/32 counter name label-l return',
    ]


def test_nothing_is_there_without_labels_and_nothing_counted_without_a_gateway() -> None:
    network = a_network(a_subnet("n"), network_id="n")
    router = a_router(a_router_port(network, "10.0.0.1"))
    assert not rules(router, []).chains
    label = a_label(metering_pb2.MeteringLabelRuleSpec(direction="egress", remote_ip_prefix="10.0.0.0/24"))
    assert rules(router, [label]).rules[TABLE, "label-l"] == []
