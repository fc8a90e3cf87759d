"""Which ports a log is of. No I/O."""

from fabric.network.v1 import log_pb2, port_pb2

SECURITY_GROUP = "security_group"
ACCEPT, DROP, ALL = "ACCEPT", "DROP", "ALL"
EVENTS = (ACCEPT, DROP, ALL)


def covers(log: log_pb2.Log, port: port_pb2.Port) -> bool:
    """Whether the log is of this port: by its group, by its id, or, when it names neither, by its project."""
    spec = log.spec
    if not spec.enabled or not port.spec.port_security_enabled:
        return False
    if spec.target_id and spec.target_id != port.meta.id:
        return False
    if spec.resource_id and spec.resource_id not in port.spec.security_group_ids:
        return False
    return bool(spec.target_id or spec.resource_id) or log.meta.project_id == port.meta.project_id


def events(log: log_pb2.Log) -> frozenset[str]:
    """What it is of such ports."""
    return frozenset({ACCEPT, DROP} if log.spec.event == ALL else {log.spec.event})
