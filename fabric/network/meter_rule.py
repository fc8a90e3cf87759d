"""What the rules of metering labels may say and what they match. No I/O."""

import ipaddress
from collections.abc import Iterator

from fabric.network import address
from fabric.network.v1 import metering_pb2 as pb
from fabric.runtime.errors import InvalidArgument

_PREFIXES = ("remote_ip_prefix", "source_ip_prefix", "destination_ip_prefix")


def check(spec: pb.MeteringLabelRuleSpec) -> None:
    """Complete a rule. Raises InvalidArgument."""
    if spec.direction not in ("ingress", "egress"):
        raise address.invalid(f"'{spec.direction}' is not in ['ingress', 'egress']", "direction")
    found = dict(prefixes(spec))
    if not found:
        raise InvalidArgument(
            "You must define at least one of the following parameters: destination_ip_prefix or "
            "source_ip_prefix or remote_ip_prefix.",
            reason="HTTP_BAD_REQUEST",
            field="remote_ip_prefix",
        )
    if "remote_ip_prefix" in found and len(found) > 1:
        raise InvalidArgument(
            "Cannot use 'remote_ip_prefix' in conjunction with 'source_ip_prefix' or 'destination_ip_prefix'.",
            reason="HTTP_BAD_REQUEST",
            field="remote_ip_prefix",
        )
    networks = {name: address.network(text, name) for name, text in found.items()}
    if len({network.version for network in networks.values()}) > 1:
        raise address.invalid("the prefixes are of different IP versions", "source_ip_prefix")
    for name, network in networks.items():
        setattr(spec, name, str(network))


def overlap(one: pb.MeteringLabelRuleSpec, other: pb.MeteringLabelRuleSpec) -> bool:
    """Whether some packet would match both, so that it is not clear which of them counts."""
    return one.direction == other.direction and all(
        _meet(mine, theirs) for mine, theirs in zip(sides(one), sides(other), strict=True)
    )


def sides(spec: pb.MeteringLabelRuleSpec) -> tuple[str, str]:
    """Source and destination prefixes; empty: any. The remote one is that of the project's side."""
    if not spec.remote_ip_prefix:
        return spec.source_ip_prefix, spec.destination_ip_prefix
    return ("", spec.remote_ip_prefix) if spec.direction == "ingress" else (spec.remote_ip_prefix, "")


def _meet(one: str, other: str) -> bool:
    if not one or not other:
        return True
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return first.version == second.version and first.overlaps(second)


def prefixes(spec: pb.MeteringLabelRuleSpec) -> Iterator[tuple[str, str]]:
    """Those that are set, by the name of their field."""
    for name in _PREFIXES:
        if text := getattr(spec, name):
            yield name, text
