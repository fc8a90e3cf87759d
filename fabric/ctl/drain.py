"""Whether a node takes servers, and moving away those that it has: all by the public API."""

from fabric.ctl.api import ApiError, Body, Cloud
from fabric.ctl.progress import Progress, TookTooLong

_COMPUTE = "nova-compute"


def enable(cloud: Cloud, node: str) -> None:
    """It takes servers. Raises ApiError."""
    cloud.put("compute", "/os-services/enable", {"host": node, "binary": _COMPUTE})


def disable(cloud: Cloud, node: str, reason: str) -> None:
    """It takes no new ones. Raises ApiError."""
    body = {"host": node, "binary": _COMPUTE, "disabled_reason": reason}
    cloud.put("compute", "/os-services/disable-log-reason", body)


def drain(cloud: Cloud, node: str, reason: str, timeout_s: float, progress: Progress) -> int:
    """Move its running servers to other nodes and say which stay; exit status 0: none do. Raises ApiError."""
    disable(cloud, node, reason)
    refused: dict[str, str] = {}
    for server in _servers(cloud, node):
        if server["status"] in ("ACTIVE", "PAUSED"):
            try:
                _migrate(cloud, server["id"])
            except ApiError as error:
                refused[server["id"]] = str(error)
        else:
            refused[server["id"]] = f"it is {server['status']}"

    def moved() -> bool | None:
        return all(_stays(server, refused) for server in _servers(cloud, node)) or None

    try:
        progress.wait(lambda: f"{len(_servers(cloud, node))} servers to leave {node}", moved, timeout_s)
    except TookTooLong as error:
        progress.say(str(error))
    left = _servers(cloud, node)
    for server in left:
        why = refused.get(server["id"], f"it is {server['status']}")
        progress.say(f"server {server['id']} ({server['name']}) stays: {why}")
    progress.say(f"{node} takes no new servers; it has {len(left)}")
    return 1 if left else 0


def _servers(cloud: Cloud, node: str) -> list[Body]:
    found: list[Body] = cloud.get("compute", f"/servers/detail?all_tenants=1&host={node}")["servers"]
    return found


def _migrate(cloud: Cloud, server_id: str) -> None:
    body = {"host": None, "block_migration": True, "disk_over_commit": False}
    cloud.post("compute", f"/servers/{server_id}/action", {"os-migrateLive": body})


def _stays(server: Body, refused: dict[str, str]) -> bool:
    """Whether nothing moves it any more."""
    return server["id"] in refused or server["status"] != "MIGRATING"
