"""Whether a node takes servers, and moving away those that it has: all by the public API."""

from fabric.ctl.api import ApiError, Body, Cloud
from fabric.ctl.progress import Progress, TookTooLong

_COMPUTE = "nova-compute"
_AT_ONCE = 4  # migrations; more of them share the same wire
_LOOK_EVERY_S = 0.3
_LIVE, _COLD, _OFFLOAD = "live migration", "cold migration", "offload"
_WAYS = {"ACTIVE": _LIVE, "PAUSED": _LIVE, "SHUTOFF": _COLD, "SHELVED": _OFFLOAD}
_ACTIONS: dict[str, Body] = {
    _LIVE: {"os-migrateLive": {"host": None, "block_migration": True, "disk_over_commit": False}},
    _COLD: {"migrate": None},
    _OFFLOAD: {"shelveOffload": None},  # its image has all that its disks have
}
_STAY = {
    "SUSPENDED": "it is SUSPENDED, and its memory is saved here: resume or stop it",
    "VERIFY_RESIZE": "it waits here for its owner to confirm or revert its resize",
}


def enable(cloud: Cloud, node: str) -> None:
    """It takes servers. Raises ApiError."""
    cloud.put("compute", "/os-services/enable", {"host": node, "binary": _COMPUTE})


def disable(cloud: Cloud, node: str, reason: str) -> None:
    """It takes no new ones. Raises ApiError."""
    body = {"host": node, "binary": _COMPUTE, "disabled_reason": reason}
    cloud.put("compute", "/os-services/disable-log-reason", body)


def drain(cloud: Cloud, node: str, reason: str, timeout_s: float, progress: Progress) -> int:
    """Move its servers to other nodes and say which stay, and why; exit status 0: none do. Raises ApiError."""
    disable(cloud, node, reason)
    emptying = _Emptying(cloud, node, progress)
    try:
        progress.wait(emptying.rest, emptying.look, timeout_s, every_s=_LOOK_EVERY_S)
    except TookTooLong as error:
        progress.say(str(error))
    return emptying.tell()


class _Emptying:
    """Each server is moved once: live where its guest runs, cold where it is off; one that is shelved is offloaded."""

    def __init__(self, cloud: Cloud, node: str, progress: Progress) -> None:
        self._cloud = cloud
        self._node = node
        self._progress = progress
        self._ways: dict[str, str] = {}  # of those that are on their way
        self._stay: dict[str, str] = {}  # why nothing moves them

    def rest(self) -> str:
        """What is waited for."""
        here = self._here()
        going = ", ".join(f"{way} of {id_}" for id_, way in self._ways.items())
        return f"{len(here)} servers to leave {self._node}{': ' if going else ''}{going}"

    def look(self) -> bool | None:
        """Begin and end what can be; True: nothing is left to do."""
        here = {server["id"]: server for server in self._here()}
        for id_ in list(self._ways):
            self._follow(id_, here.get(id_) or self._show(id_))
        for id_, server in here.items():
            if len(self._ways) < _AT_ONCE and id_ not in self._ways and id_ not in self._stay:
                self._begin(server)
        return True if not self._ways and here.keys() <= self._stay.keys() else None

    def tell(self) -> int:
        """Say what stays; the exit status."""
        left, waiting = self._here(), self._unconfirmed()
        for server in left:
            why = self._stay.get(server["id"]) or f"it is {_how(server)}"
            self._progress.say(f"{_named(server)} stays: {why}")
        for move in waiting:
            self._progress.say(
                f"server {move['instance_uuid']} is on {move['dest_compute']}, and its disk still here: "
                "its owner has yet to confirm or revert that"
            )
        self._progress.say(f"{self._node} takes no new servers; it has {len(left)}")
        return 1 if left or waiting else 0

    def _begin(self, server: Body) -> None:
        if server["OS-EXT-STS:task_state"]:  # it will be at rest, or be gone
            return
        id_, way = server["id"], _WAYS.get(server["status"])
        if way is None:
            self._stay[id_] = _STAY.get(server["status"]) or f"it is {server['status']}"
            return
        try:
            self._act(id_, _ACTIONS[way])
        except ApiError as error:
            self._stay[id_] = f"its {way} was refused: {error}"
            return
        self._ways[id_] = way
        self._progress.say(f"{_named(server)} is {server['status']}: {way}")

    def _follow(self, id_: str, server: Body | None) -> None:
        if server is not None and server["OS-EXT-STS:task_state"]:
            return
        if server is not None and server["status"] == "VERIFY_RESIZE":
            try:
                self._act(id_, {"confirmResize": None})
            except ApiError as error:
                if error.status != 409:  # it is being confirmed already
                    raise
            return
        way = self._ways.pop(id_)
        if server is None:
            return
        host = server["OS-EXT-SRV-ATTR:host"]
        if host == self._node:
            self._stay[id_] = f"its {way} failed: {self._last_message(id_)}"
        else:
            self._progress.say(f"{_named(server)} is {f'on {host}' if host else server['status']}")

    def _here(self) -> list[Body]:
        path = f"/servers/detail?all_tenants=1&host={self._node}"
        found: list[Body] = self._cloud.get("compute", path)["servers"]
        return found

    def _show(self, id_: str) -> Body | None:
        """None: it was deleted meanwhile."""
        try:
            found: Body = self._cloud.get("compute", f"/servers/{id_}")["server"]
        except ApiError as error:
            if error.status != 404:
                raise
            return None
        return found

    def _act(self, id_: str, action: Body) -> None:
        self._cloud.post("compute", f"/servers/{id_}/action", action)

    def _last_message(self, id_: str) -> str:
        """What the latest action of the server ended with."""
        actions = self._cloud.get("compute", f"/servers/{id_}/os-instance-actions")["instanceActions"]
        return next((str(action["message"]) for action in actions if action["message"]), "it came back")

    def _unconfirmed(self) -> list[Body]:
        """Migrations from here whose servers may come back."""
        path = f"/os-migrations?source_compute={self._node}&status=finished"
        found: list[Body] = self._cloud.get("compute", path)["migrations"]
        return [move for move in found if move["dest_compute"] != self._node]


def _named(server: Body) -> str:
    return f"server {server['id']} ({server['name']})"


def _how(server: Body) -> str:
    task = server["OS-EXT-STS:task_state"]
    return f"{server['status']} ({task})" if task else str(server["status"])
