"""The drivers of a real node, from the settings."""

from pathlib import Path

from agents.network import dns_relay
from agents.network.dnsmasq import DnsmasqDhcp, DnsmasqSettings
from agents.network.driver import Drivers
from agents.network.links import Links
from agents.network.netlink import NetlinkSwitch
from agents.network.nftables import NftablesFilter
from agents.network.qos import KernelQos
from agents.network.settings import NetworkSettings


def real_drivers(settings: NetworkSettings, state_dir: Path) -> Drivers:
    """state_dir: what must outlive the agent (leases, what DHCP serves). Call host.prepare() first."""
    dhcp = DnsmasqDhcp(
        DnsmasqSettings(
            state_dir / "dhcp",
            lease_seconds=int(settings.lease.total_seconds()),
            domain=settings.domain,
            upstream=settings.dns_servers or (dns_relay.UPSTREAM,),
            user=settings.dnsmasq_user,
        )
    )
    switch = NetlinkSwitch(Links(), state_dir / "namespaces", settings.tunnel_address)
    return Drivers(switch, NftablesFilter(), dhcp, KernelQos())
