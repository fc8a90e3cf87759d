"""The filters of the scheduler: each removes the nodes that lack one thing, and says what they lack. No I/O.

A filter looks at the server once. None: it does not ask for anything of this kind. Otherwise the check that
is returned says for each node in one sentence what is missing ("": nothing), so that doing it makes the node pass.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from fabric.compute.candidate import Ask, Candidate, Policy, version_number
from fabric.compute.demand import class_of, traits
from fabric.compute.expression import meets, parse_query
from fabric.runtime.errors import InvalidArgument

Check = Callable[[Candidate], str]

_CAPABILITIES = "capabilities"
_AGGREGATE = "aggregate_instance_extra_specs"
_TENANTS = "filter_tenant_id"
_ARCHITECTURES = {"amd64": "x86_64", "i386": "i686", "x86": "i686", "arm64": "aarch64"}


@dataclass(frozen=True)
class Filter:
    """One row of the table. forced: it holds also for a node that an administrator forces."""

    name: str
    check: Callable[[Ask], Check | None]
    forced: bool = False


def _named_node(ask: Ask) -> Check | None:
    if not ask.node:
        return None
    return lambda node: "" if node.name == ask.node else f"the request names {ask.node}"


def _alive(ask: Ask) -> Check:
    return lambda node: "" if node.alive else "its compute agent is down"


def _enabled(ask: Ask) -> Check:
    return lambda node: "" if node.enabled else "it is disabled"


def _zone(ask: Ask) -> Check | None:
    zone = ask.server.spec.availability_zone
    if not zone:
        return None
    return lambda node: "" if node.zone == zone else f"it is in {node.zone}, not in {zone}"


def _tenants(ask: Ask) -> Check:
    project = ask.server.meta.project_id

    def check(node: Candidate) -> str:
        if not node.metadata:
            return ""
        kept = [ids for key, ids in node.metadata.items() if key.startswith(_TENANTS)]
        if not kept or any(project in ids for ids in kept):
            return ""
        return f"its aggregates are kept for other projects than {project}"

    return check


def _flavor_affinity(ask: Ask) -> Check:
    flavor = ask.server.spec.flavor.name

    def check(node: Candidate) -> str:
        kept = node.metadata.get("instance_type", frozenset())
        return "" if not kept or flavor in kept else f"its aggregates take {_some(kept)}, not {flavor}"

    return check


def _aggregate_specs(ask: Ask) -> Check | None:
    wanted = {
        key: text for key, text in _scoped(ask, _AGGREGATE, unscoped=True) if key not in _PLAIN_CAPABILITIES
    }
    if not wanted:
        return None

    def check(node: Candidate) -> str:
        for key, text in wanted.items():
            values = node.metadata.get(key, frozenset())
            if text == "!":  # the aggregates must not speak of it
                if values:
                    return f"its aggregates have {key}={_some(values)}"
            elif not any(meets(value, text) for value in values):
                return f"no aggregate of it has {key} {text}{_but(values)}"
        return ""

    return check


def _capabilities(ask: Ask) -> Check | None:
    wanted = dict(_scoped(ask, _CAPABILITIES))
    wanted |= {k: text for k, text in _scoped(ask, "", unscoped=True) if k in _PLAIN_CAPABILITIES}
    if not wanted:
        return None

    def check(node: Candidate) -> str:
        for key, text in wanted.items():
            value = node.facts.get(key)
            if value is None or not meets(str(value), text):
                return f"it has no {key} {text}{_but([] if value is None else [str(value)])}"
        return ""

    return check


def _image_properties(ask: Ask) -> Check | None:
    asked = ask.server.spec.image.properties
    arch = asked.get("hw_architecture") or asked.get("architecture", "")
    kind = asked.get("img_hv_type") or asked.get("hypervisor_type", "")
    version = asked.get("img_hv_requested_version") or asked.get("hypervisor_version_requires", "")
    if not (arch or kind or version):
        return None

    def check(node: Candidate) -> str:
        found = node.inventory
        if arch and _architecture(arch) != _architecture(found.cpu_arch):
            return f"its architecture is {found.cpu_arch}, the image wants {arch}"
        if kind and kind.lower() != found.hypervisor_type.lower():
            return f"its hypervisor is {found.hypervisor_type}, the image wants {kind}"
        if version and not _versions_meet(found.hypervisor_version, version):
            return f"its hypervisor is of version {found.hypervisor_version}, the image wants {version}"
        return ""

    return check


def _image_isolation(ask: Ask) -> Check | None:
    properties = ask.server.spec.image.properties
    if not properties:
        return None

    def check(node: Candidate) -> str:
        for key, values in node.metadata.items():
            if key in properties and properties[key] not in values:
                return f"its aggregates take images of {key}={_some(values)}, not {properties[key]}"
        return ""

    return check


def _traits(ask: Ask) -> Check | None:
    required, forbidden = traits(ask.server)
    if not required and not forbidden:
        return None

    def check(node: Candidate) -> str:
        if missing := required - node.traits:
            return f"it lacks the trait {_some(missing)}"
        if present := forbidden & node.traits:
            return f"it has the trait {_some(present)}"
        return ""

    return check


def _same_host(ask: Ask) -> Check | None:
    if not (servers := ask.hinted("same_host")):
        return None
    nodes = {ask.nodes.get(id_) for id_ in servers}
    return lambda node: "" if node.name in nodes else f"it has none of {', '.join(servers)}"


def _different_host(ask: Ask) -> Check | None:
    if not (servers := ask.hinted("different_host")):
        return None
    nodes = {ask.nodes.get(id_) for id_ in servers}
    return lambda node: f"it has one of {', '.join(servers)}" if node.name in nodes else ""


def _near_address(ask: Ask) -> Check | None:
    hints = ask.server.spec.scheduler_hints
    if not (address := hints.get("build_near_host_ip")):
        return None
    try:
        network = ipaddress.ip_network(f"{address}{hints.get('cidr', '/24')}", strict=False)
    except ValueError as error:
        raise InvalidArgument(f"{error}", field="build_near_host_ip") from error

    def check(node: Candidate) -> str:
        host = node.inventory.host_ip
        return "" if host and ipaddress.ip_address(host) in network else f"{host or 'it'} is not in {network}"

    return check


def _query(ask: Ask) -> Check | None:
    if not (text := ask.server.spec.scheduler_hints.get("query")):
        return None
    condition = parse_query(text)
    return lambda node: "" if condition(node.facts) else f"it is not as the query says: {text}"


def _most_servers(ask: Ask) -> Check:
    def check(node: Candidate) -> str:
        most = _least(node.metadata.get("max_instances_per_host", ()))
        return f"it has {node.servers} of {most} servers" if most is not None and node.servers >= most else ""

    return check


def _most_building(ask: Ask) -> Check:
    def check(node: Candidate) -> str:
        most = _least(node.metadata.get("max_io_ops_per_host", ()))
        if most is None or node.building < most:
            return ""
        return f"it builds {node.building} of {most} servers at once"

    return check


def _capacity(ask: Ask) -> Check:
    wanted = [(resource, amount) for resource, amount in ask.demand.items() if amount > 0]

    def check(node: Candidate) -> str:
        for resource, amount in wanted:
            missing = amount - node.free(resource)
            if missing > 0:
                return f"{missing} {class_of(resource)} short of {amount}"
        return ""

    return check


def _networks(ask: Ask) -> Check | None:
    if not ask.cut_off:
        return None

    def check(node: Candidate) -> str:
        network = ask.cut_off.get(node.name, "")
        return f"it does not reach network {network}" if network else ""

    return check


def _affinity(ask: Ask) -> Check | None:
    if ask.group is None or ask.group.policy != Policy.POLICY_AFFINITY or not any(ask.members.values()):
        return None
    return lambda node: "" if ask.members.get(node.name) else "the group is on another node"


def _anti_affinity(ask: Ask) -> Check | None:
    if ask.group is None or ask.group.policy != Policy.POLICY_ANTI_AFFINITY:
        return None
    most = ask.group.max_server_per_host or 1

    def check(node: Candidate) -> str:
        there = ask.members.get(node.name, 0)
        return f"it has {there} of the group" if there >= most else ""

    return check


FILTERS = (
    Filter("NamedHost", _named_node, forced=True),
    Filter("Alive", _alive, forced=True),
    Filter("Enabled", _enabled),
    Filter("AvailabilityZone", _zone),
    Filter("AggregateMultiTenancyIsolation", _tenants),
    Filter("AggregateTypeAffinity", _flavor_affinity),
    Filter("AggregateInstanceExtraSpecs", _aggregate_specs),
    Filter("AggregateImagePropertiesIsolation", _image_isolation),
    Filter("ComputeCapabilities", _capabilities),
    Filter("ImageProperties", _image_properties),
    Filter("Traits", _traits, forced=True),
    Filter("Networks", _networks, forced=True),
    Filter("SameHost", _same_host),
    Filter("DifferentHost", _different_host),
    Filter("SimpleCIDRAffinity", _near_address),
    Filter("Json", _query),
    Filter("AggregateNumInstances", _most_servers),
    Filter("AggregateIoOps", _most_building),
    Filter("Capacity", _capacity, forced=True),
    Filter("ServerGroupAffinity", _affinity),
    Filter("ServerGroupAntiAffinity", _anti_affinity),
)

# What an extra spec without a scope may ask of the node; all others are asked of its aggregates.
_PLAIN_CAPABILITIES = frozenset(Candidate("", True, True, "", {}, {}).facts)


def checks(ask: Ask) -> list[tuple[str, Check]]:
    """What each node must pass, by filter, in order. Raises InvalidArgument for a hint that says nothing."""
    forced = bool(ask.server.spec.forced_node)
    asked = [(row.name, row.check(ask)) for row in FILTERS if row.forced or not forced]
    return [(name, check) for name, check in asked if check is not None]


def _scoped(ask: Ask, scope: str, *, unscoped: bool = False) -> Iterable[tuple[str, str]]:
    for key, text in ask.server.spec.flavor.extra_specs.items():
        head, colon, rest = key.partition(":")
        if colon and head == scope:
            yield rest, text
        elif not colon and unscoped:
            yield key, text


def _architecture(name: str) -> str:
    return _ARCHITECTURES.get(name.lower(), name.lower())


def _versions_meet(version: str, wanted: str) -> bool:
    """Whether it meets every part of a requirement such as ">=6.0,<8"."""
    return all(_version_meets(version, part.strip()) for part in wanted.split(",") if part.strip())


def _version_meets(version: str, part: str) -> bool:
    at = next((at for at, char in enumerate(part) if char not in "<>=!"), len(part))
    sign, left, right = part[:at] or "==", version_number(version), version_number(part[at:].strip())
    results: Mapping[str, bool] = {
        "<": left < right,
        "<=": left <= right,
        "==": left == right,
        "=": left == right,
        "!=": left != right,
        ">=": left >= right,
        ">": left > right,
    }
    return results.get(sign, False)


def _least(values: Iterable[str]) -> int | None:
    return min((int(value) for value in values if value.isdecimal()), default=None)


def _some(values: Iterable[str]) -> str:
    return ", ".join(sorted(values))


def _but(values: Iterable[str]) -> str:
    return f", but {_some(values)}" if values else ""
