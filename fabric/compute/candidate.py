"""What the scheduler knows: of a node, and of the server that wants one. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fabric.compute.demand import demand
from fabric.compute.v1 import node_pb2, server_group_pb2
from fabric.compute.v1 import server_pb2 as pb

Policy = server_group_pb2.ServerGroupSpec


@dataclass(frozen=True)
class Candidate:
    """A node; capacity, allocated and promised are by counted name ("compute.vcpus"...)."""

    name: str
    alive: bool
    enabled: bool
    zone: str
    capacity: Mapping[str, int]
    allocated: Mapping[str, int]
    promised: Mapping[str, int] = field(default_factory=dict)  # to servers that are being placed there now
    metadata: Mapping[str, frozenset[str]] = field(default_factory=dict)  # of all its aggregates
    traits: frozenset[str] = frozenset()
    inventory: node_pb2.ComputeInventory = field(default_factory=node_pb2.ComputeInventory)
    servers: int = 0
    building: int = 0  # servers that do not run yet
    failed: int = 0  # servers that could not be started

    def free(self, resource: str) -> int:
        """What is left of a resource."""
        return self.capacity.get(resource, 0) - self.allocated.get(resource, 0)

    def unpromised(self, resource: str) -> int:
        """What will be left of it when all that is under way has come."""
        return self.free(resource) - self.promised.get(resource, 0)

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """By the names that capabilities and queries use."""
        found = self.inventory
        return {
            "host": self.name,
            "hypervisor_hostname": self.name,
            "hypervisor_type": found.hypervisor_type,
            "hypervisor_version": version_number(found.hypervisor_version),
            "host_ip": found.host_ip,
            "vcpus_total": found.vcpus,
            "vcpus_used": self.allocated.get("compute.vcpus", 0),
            "total_usable_ram_mb": found.ram_mib,
            "free_ram_mb": self.free("compute.ram_mib"),
            "total_usable_disk_gb": found.disk_gb,
            "free_disk_mb": self.free("compute.disk_gb") * 1024,
            "num_instances": self.servers,
            "num_io_ops": self.building,
            "cpu_info:arch": found.cpu_arch,
            "cpu_info:model": found.cpu_model,
            "cpu_info:features": " ".join(found.cpu_features),
        }


@dataclass(frozen=True)
class Ask:
    """A server that wants a node."""

    server: pb.Server
    group: Policy | None = None
    members: Mapping[str, int] = field(default_factory=dict)  # of its group, by node
    nodes: Mapping[str, str] = field(default_factory=dict)  # of the servers that its hints name
    cut_off: Mapping[str, str] = field(
        default_factory=dict
    )  # by node: a network of the server, not reached there

    @cached_property
    def demand(self) -> Mapping[str, int]:
        """What it takes, by counted name."""
        return demand(self.server)

    @property
    def node(self) -> str:
        """The one node that it may go to; empty: any."""
        return self.server.spec.forced_node or self.server.spec.requested_node

    def hinted(self, hint: str) -> list[str]:
        """The servers that a hint names."""
        text = self.server.spec.scheduler_hints.get(hint, "")
        return text.split(",") if text else []


def version_number(text: str) -> int:
    """7.2.0 is 7002000, as libvirt counts; 0 when it is no version."""
    parts = [int(part) for part in text.split(".")[:3] if part.isdecimal()]
    major, minor, patch = [*parts, 0, 0, 0][:3]
    return major * 1_000_000 + minor * 1_000 + patch
