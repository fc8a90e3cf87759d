"""What QoS rules may say, and which policy a port goes by. No I/O."""

from collections.abc import Iterable

from fabric.network import address
from fabric.network.v1 import network_pb2, port_pb2
from fabric.network.v1 import qos_pb2 as pb
from fabric.runtime.errors import FailedPrecondition

BANDWIDTH_LIMIT, DSCP_MARKING = "bandwidth_limit", "dscp_marking"
MINIMUM_BANDWIDTH, PACKET_RATE_LIMIT = "minimum_bandwidth", "packet_rate_limit"
TYPES = (BANDWIDTH_LIMIT, DSCP_MARKING, MINIMUM_BANDWIDTH, PACKET_RATE_LIMIT)
POSSIBLE = frozenset({BANDWIDTH_LIMIT, DSCP_MARKING, PACKET_RATE_LIMIT})  # what an agent can make true
EGRESS, INGRESS = "egress", "ingress"
DSCP_MARKS = (0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 46, 48, 56)
_AMOUNTS = ("max_kbps", "max_burst_kbps", "min_kbps", "max_kpps", "max_burst_kpps")


def check(spec: pb.QosRuleSpec) -> None:
    """Complete a rule. Raises InvalidArgument."""
    if spec.type not in TYPES:
        raise address.invalid(f"'{spec.type}' is not in {list(TYPES)}", "type")
    for name in _AMOUNTS:
        if getattr(spec, name) < 0:
            raise address.invalid(f"'{getattr(spec, name)}' is too small - must be at least '0'", name)
    if spec.type == DSCP_MARKING:
        if spec.dscp_mark not in DSCP_MARKS:
            raise address.invalid(f"'{spec.dscp_mark}' is not in {list(DSCP_MARKS)}", "dscp_mark")
        spec.direction = ""
        return
    spec.direction = spec.direction or EGRESS
    if spec.direction not in (EGRESS, INGRESS):
        raise address.invalid(f"'{spec.direction}' is not in {[EGRESS, INGRESS]}", "direction")


def check_together(new: pb.QosRule, others: Iterable[pb.QosRule]) -> None:
    """A guarantee must not be above the limit of its direction. Raises FailedPrecondition."""
    for other in others:
        if other.meta.id == new.meta.id or other.spec.direction != new.spec.direction:
            continue
        low, high = (new.spec, other.spec) if new.spec.type == MINIMUM_BANDWIDTH else (other.spec, new.spec)
        if (low.type, high.type) != (MINIMUM_BANDWIDTH, BANDWIDTH_LIMIT) or low.min_kbps <= high.max_kbps:
            continue
        value, known = (low.min_kbps, high.max_kbps) if low is new.spec else (high.max_kbps, low.min_kbps)
        raise FailedPrecondition(
            f"Unable to add the rule with value {value} to the policy {new.spec.policy_id} as the existing "
            f"rule of type {other.spec.type} has value {known}.",
            reason="QOS_RULE_PARAMETER_CONFLICT",
        )


def impossible(rules: Iterable[pb.QosRule]) -> str:
    """The type of a rule that no agent makes true; empty: there is none."""
    return next((rule.spec.type for rule in rules if rule.spec.type not in POSSIBLE), "")


def policy_of(port: port_pb2.Port, network: network_pb2.Network | None) -> str:
    """The id of the policy that a port goes by: its own, else its network's; ports of the cloud only their own."""
    if port.spec.qos_policy_id or network is None or port.spec.device_owner.startswith("network:"):
        return port.spec.qos_policy_id
    return network.spec.qos_policy_id
