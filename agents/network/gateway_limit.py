"""Which share of a gateway's traffic is limited to what: the floating IPs' and the rest's. No I/O."""

from collections.abc import Iterator
from dataclasses import dataclass

from agents.network import name
from agents.network.limit import Bandwidth, limits
from fabric.network.v1 import router_pb2


@dataclass(frozen=True)
class Shares:
    """Of one direction. by_address: of floating addresses, as they are outside; None: without limit.

    rest: of all other packets, IPv6 too; None: without limit.
    """

    by_address: tuple[tuple[str, Bandwidth | None], ...] = ()
    rest: Bandwidth | None = None


@dataclass(frozen=True)
class Passing:
    """What passes one gateway."""

    out: Shares
    into: Shares

    def __bool__(self) -> bool:
        return self != Passing(Shares(), Shares())


def passing(want: router_pb2.RouterWant) -> dict[str, Passing]:
    """By device of the gateways, in the router's namespace."""
    policies = {policy.qos_policy.meta.id: limits(policy) for policy in want.qos_policies}
    of_gateway = {gateway.port_id: gateway.qos_policy_id for gateway in want.router.spec.external_gateways}
    found = {}
    for port in want.ports:
        if not port.gateway:
            continue
        own = policies.get(of_gateway.get(port.port.meta.id, ""))
        floating = [
            (spec.floating_ip_address, policies.get(spec.qos_policy_id))
            for spec in sorted((f.spec for f in want.floating_ips), key=lambda spec: spec.floating_ip_address)
            if spec.floating_network_id == port.port.spec.network_id
        ]
        found[name.router_port(port.port.meta.id)] = Passing(
            out=_shares([(ip, p.out if p else None) for ip, p in floating], own.out if own else None),
            into=_shares([(ip, p.into if p else None) for ip, p in floating], own.into if own else None),
        )
    return found


def _shares(floating: list[tuple[str, Bandwidth | None]], rest: Bandwidth | None) -> Shares:
    """Floating IPs without a limit are named where the rest has one."""

    def named() -> Iterator[tuple[str, Bandwidth | None]]:
        for address, bandwidth in floating:
            if bandwidth is not None or rest is not None:
                yield address, bandwidth

    return Shares(tuple(named()), rest)
