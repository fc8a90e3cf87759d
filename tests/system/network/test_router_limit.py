"""What passes a router's gateway is limited by the policies of the gateway and of its floating IPs."""

import contextlib
import socket
import uuid
from pathlib import Path

from agents.network import gateway_shaper, netns, rtnl
from agents.network.gateway_limit import Passing, Shares
from fabric.network.v1 import router_pb2
from tests.system.network.lab import HERE, Cloud, Host, until
from tests.system.network.test_qos import holds, kbps
from tests.system.network.test_router import a_site, an_outside, at_work
from tests.unit.agents.network.wants import a_policy, a_router, a_router_port, translate

OUT, INTO, OF_THE_GATEWAY = 4000, 2000, 8000


async def test_limits_of_a_floating_ip_and_of_a_gateway_hold(tmp_path: Path) -> None:
    cloud, outside = Cloud(), an_outside()
    inside, port = a_site(cloud, 1)
    cloud.networks.bind(outside.network.meta.id, outside)
    gateway = a_router_port(outside, "203.0.113.10", gateway=True)
    router = a_router(a_router_port(inside, "10.0.1.1"), gateway)
    router_id = router.router.meta.id
    cloud.routers.bind(router_id, router)
    async with contextlib.AsyncExitStack() as stack:
        guest, internet = await stack.enter_async_context(at_work(cloud, port, router_id, tmp_path))

        of_gateway = a_policy(str(uuid.uuid4()), bandwidth_limit__egress={"max_kbps": OF_THE_GATEWAY})
        router.qos_policies.append(of_gateway)
        router.router.spec.external_gateways[0].qos_policy_id = of_gateway.qos_policy.meta.id
        await settled(cloud, router)
        assert await holds(guest, internet, "198.51.100.9", OF_THE_GATEWAY)

        of_address = a_policy(
            str(uuid.uuid4()),
            bandwidth_limit__egress={"max_kbps": OUT},
            bandwidth_limit__ingress={"max_kbps": INTO},
        )
        translate(router, gateway, "203.0.113.20", "10.0.1.5")
        router.qos_policies.append(of_address)
        router.floating_ips[0].spec.qos_policy_id = of_address.qos_policy.meta.id
        await settled(cloud, router)
        assert await holds(guest, internet, "198.51.100.9", OUT)
        assert await holds(Host(HERE), guest, "203.0.113.20", INTO)

        del router.qos_policies[:]
        await settled(cloud, router)
        assert await kbps(guest, internet, "198.51.100.9") > 1.5 * OF_THE_GATEWAY


def test_a_limit_that_a_crash_has_left_before_it_was_noted_goes() -> None:
    def leave_and_settle() -> str:
        with contextlib.closing(rtnl.Writer()) as writer:
            writer.ip.link("add", ifname="gateway", kind="veth", peer="other")
            writer.ip.tc("add", "htb", socket.if_nametoindex("gateway"), 0x10000, default=0)
            gateway_shaper.settle(writer, {"gateway": Passing(Shares(), Shares())})
        left = rtnl.find("gateway")
        assert left is not None
        return left.qdisc

    assert netns.scratch(leave_and_settle) != "htb"


async def settled(cloud: Cloud, router: router_pb2.RouterWant) -> None:
    """Return when the agent has made the router as it is now."""
    router.router.meta.generation += 1
    cloud.routers.bind(router.router.meta.id, router)
    generation = router.router.meta.generation

    def done() -> bool:
        status = cloud.routers.status(router.router.meta.id)
        return status is not None and status.observed_generation == generation

    await until(done)
