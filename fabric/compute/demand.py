"""What a server takes of its node, in the words of flavors, of quotas and of placement. No I/O."""

import re
from collections.abc import Iterator, Mapping

from fabric.compute.v1 import server_pb2 as pb

GIB = 1 << 30

VCPU, MEMORY_MB, DISK_GB = "VCPU", "MEMORY_MB", "DISK_GB"
_COUNTED = {VCPU: "compute.vcpus", MEMORY_MB: "compute.ram_mib", DISK_GB: "compute.disk_gb"}
_CLASSES = {counted: name for name, counted in _COUNTED.items()}
_RESOURCES = re.compile(r"resources[a-zA-Z0-9_-]*:([A-Z0-9_]+)")
_TRAIT = re.compile(r"trait[a-zA-Z0-9_-]*:([A-Z0-9_]+)")


def counted_as(resource_class: str) -> str:
    """Under which name the limit and the usage of a resource class are counted."""
    return _COUNTED.get(resource_class) or f"compute.{resource_class}"


def class_of(counted: str) -> str:
    """The resource class that is counted under the name."""
    return _CLASSES.get(counted) or counted.removeprefix("compute.")


def disk_gb(server: pb.Server) -> int:
    """What the server may take of its node's disk, in GB."""
    flavor = server.spec.flavor
    virtual_gb = -(-server.spec.image.virtual_size_bytes // GIB)
    return (flavor.root_gb or virtual_gb) + flavor.ephemeral_gb + -(-flavor.swap_mib // 1024)


def demand(server: pb.Server) -> Mapping[str, int]:
    """What the server takes, by counted name: its flavor's sizes, or what `resources:` extra specs say instead."""
    flavor = server.spec.flavor
    taken = {
        "compute.vcpus": flavor.vcpus,
        "compute.ram_mib": flavor.ram_mib,
        "compute.disk_gb": disk_gb(server),
    }
    said: dict[str, int] = {}
    for key, value in flavor.extra_specs.items():
        if (match := _RESOURCES.fullmatch(key)) and value.isdecimal():
            counted = counted_as(match[1])
            said[counted] = said.get(counted, 0) + int(value)
    return taken | said


def traits(server: pb.Server) -> tuple[frozenset[str], frozenset[str]]:
    """The traits that its node must have and must not have, as flavor and image say."""
    found = [*_traits(server.spec.flavor.extra_specs), *_traits(server.spec.image.properties)]
    required = frozenset(trait for trait, word in found if word == "required")
    return required, frozenset(trait for trait, word in found if word == "forbidden")


def _traits(said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for key, value in said.items():
        if match := _TRAIT.fullmatch(key):
            yield match[1], value
