"""What an operator may choose about the network agent."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True)
class NetworkSettings:
    """Spans are timedelta; see docs for what each is good for."""

    resync: timedelta = timedelta(minutes=5)  # compare everything with the kernel this often
    meter: timedelta = timedelta(minutes=1)  # report what metering labels counted this often
    packet_log: Path = Path("packets.jsonl")  # where the packets of logged ports are written down
    grace: timedelta = timedelta(seconds=60)  # how long something of ours without a want is left alone
    concurrency: int = 64  # ports that are worked on at once
    lease: timedelta = timedelta(days=1)  # DHCP
    domain: str = "openstacklocal"  # DNS domain of networks that name none
    dns_servers: tuple[str, ...] = ()  # upstream where subnets name none; empty: the host's
    dnsmasq_user: str = "root"  # must be able to read the state directory
    tunnel_address: str = "127.0.0.1"  # where this node takes VXLAN from its peers
    physical_networks: Mapping[str, str] = field(default_factory=dict)  # name -> interface; empty: the node
