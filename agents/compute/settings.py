"""What an operator may say about a node's compute agent."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class ComputeSettings:
    """Defaults suit a node of any size."""

    availability_zone: str = "nova"
    connection_uri: str = "qemu:///system"
    virt_type: str = "auto"  # kvm, qemu (software emulation), auto: kvm where the CPU can
    machine: str = "pc"  # pc hot-plugs without bridges; an image may ask for q35 by hw_machine_type
    reserved_ram_mib: int = 512  # for the node itself
    reserved_disk_gb: int = 1
    stop_timeout: timedelta = timedelta(seconds=60)  # for the guest to power itself off
    soft_reboot_timeout: timedelta = timedelta(seconds=60)
    orphan_grace: timedelta = timedelta(seconds=60)  # before what nobody wants is removed
    retry_failed_after: timedelta = timedelta(minutes=5)
    sweep_every: timedelta = timedelta(seconds=60)
    image_cache_max_bytes: int = 50 << 30  # of images that no server uses
    image_cache_max_age: timedelta = timedelta(days=7)
    migration_address: str = ""  # the URI at which other nodes' libvirt reaches ours; empty: it does not
    concurrency: int = 8  # servers that are worked on at once
