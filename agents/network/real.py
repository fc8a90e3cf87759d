"""The drivers of a real node, from the settings."""

from pathlib import Path

from agents.network import dns_relay
from agents.network.counters import NamespaceCounters
from agents.network.dnsmasq import DnsmasqDhcp, DnsmasqSettings
from agents.network.driver import Drivers
from agents.network.links import Links
from agents.network.netlink import NetlinkSwitch
from agents.network.nftables import NftablesFilter
from agents.network.qos import KernelQos
from agents.network.router_namespace import NamespaceRouters
from agents.network.settings import NetworkSettings
from agents.network.trunk_links import VethTrunks


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
    links = Links()
    physical = settings.physical_networks
    switch = NetlinkSwitch(links, state_dir / "namespaces", settings.tunnel_address, physical)
    routers = NamespaceRouters(links, state_dir / "routers")
    return Drivers(
        switch, NftablesFilter(physical), dhcp, KernelQos(), routers, NamespaceCounters(), VethTrunks(links)
    )
