"""Which share of a gateway's traffic has which limit."""

import uuid

from agents.network.gateway_limit import Passing, Shares, passing
from agents.network.limit import Bandwidth
from agents.network.name import router_port
from tests.unit.agents.network.test_router_plan import OUTSIDE
from tests.unit.agents.network.wants import a_policy, a_router, a_router_port, translate

A_MEGABIT = Bandwidth(125_000, 12_500)


def test_who_has_a_limit_of_his_own_has_no_part_in_the_rest() -> None:
    gateway = a_router_port(OUTSIDE, "203.0.113.10", "2001:db8::10", gateway=True)
    want = a_router(gateway)
    device = router_port(gateway.port.meta.id)
    translate(want, gateway, "203.0.113.30", "10.0.0.6")
    translate(want, gateway, "203.0.113.20", "10.0.0.5")
    assert passing(want) == {device: Passing(Shares(), Shares())}
    assert not passing(want)[device]
    policy = a_policy(str(uuid.uuid4()), bandwidth_limit__egress={"max_kbps": 1000})
    want.qos_policies.append(policy)
    want.floating_ips[0].spec.qos_policy_id = policy.qos_policy.meta.id
    limited = ("203.0.113.30", A_MEGABIT)
    assert passing(want)[device] == Passing(Shares((limited,)), Shares())
    want.router.spec.external_gateways[0].qos_policy_id = policy.qos_policy.meta.id
    assert passing(want)[device] == Passing(Shares((("203.0.113.20", None), limited), A_MEGABIT), Shares())
