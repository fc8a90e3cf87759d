"""The Compute API as the tests of this folder speak it."""

import time
from typing import Any

import orjson

from tests.http_client import Http
from tests.processes import wait_for

_PATIENCE_S = 60.0


class Compute:
    """Calls of one caller; paths are below /compute/v2.1."""

    def __init__(self, http: Http, image: str = "", network: str = "", flavor: str = "") -> None:
        self.http = http
        self.image, self.network, self.flavor = image, network, flavor

    def call(self, method: str, path: str, body: Any = None, *, version: str = "2.1") -> Any:
        """The answer's JSON. Raises Refused."""
        headers = {"OpenStack-API-Version": f"compute {version}"}
        return self.http.call(method, f"/compute/v2.1{path}", body, headers)

    def refused(self, method: str, path: str, body: Any = None, *, version: str = "2.1") -> tuple[int, str]:
        """Status and message of a call that must be refused."""
        headers = {"OpenStack-API-Version": f"compute {version}"}
        status, _, data = self.http.exchange(method, f"/compute/v2.1{path}", body, headers)
        assert status >= 400, data
        (fault,) = orjson.loads(data).values()
        assert fault["code"] == status
        return status, fault["message"]

    def status(self, method: str, path: str, body: Any = None, *, version: str = "2.1") -> int:
        """The status alone."""
        headers = {"OpenStack-API-Version": f"compute {version}"}
        return self.http.exchange(method, f"/compute/v2.1{path}", body, headers)[0]

    def boot(self, **more: Any) -> str:
        """The id of a new server, ACTIVE."""
        id_ = self.create(**more)
        self.settle(id_, "ACTIVE")
        return id_

    def create(self, **more: Any) -> str:
        """The id of a new server."""
        return str(self.call("POST", "/servers", {"server": self.wish(**more)})["server"]["id"])

    def wish(self, **more: Any) -> dict[str, Any]:
        """The body of a create."""
        plain = {"name": "s", "imageRef": self.image, "flavorRef": self.flavor}
        return plain | {"networks": [{"uuid": self.network}]} | more

    def show(self, id_: str, *, version: str = "2.1") -> dict[str, Any]:
        """The server."""
        found: dict[str, Any] = self.call("GET", f"/servers/{id_}", version=version)["server"]
        return found

    def act(self, id_: str, name: str, value: Any = None, *, version: str = "2.1") -> Any:
        """An action."""
        return self.call("POST", f"/servers/{id_}/action", {name: value}, version=version)

    def actions(self, id_: str) -> list[dict[str, Any]]:
        """What was asked of the server, the latest first, with events."""
        path = f"/servers/{id_}/os-instance-actions"
        found = self.call("GET", path)["instanceActions"]
        ids = [action["request_id"] for action in found]
        return [self.call("GET", f"{path}/{one}", version="2.51")["instanceAction"] for one in ids]

    def image_of(self, id_: str) -> dict[str, Any]:
        """An image."""
        found: dict[str, Any] = self.http.call("GET", f"/image/v2/images/{id_}")
        return found

    def settle(self, id_: str, status: str) -> None:
        """Return when the server has the status and nothing goes on."""

        def settled() -> bool:
            server = self.show(id_)
            assert server["status"] != "ERROR" or status == "ERROR", server["fault"]
            return server["status"] == status and server["OS-EXT-STS:task_state"] is None

        wait_for(settled, _PATIENCE_S, f"{status} of {id_}")

    def gone(self, id_: str) -> None:
        """Return when the server does not exist any more."""
        wait_for(lambda: self.status("GET", f"/servers/{id_}") == 404, _PATIENCE_S, f"{id_} to go")

    def addresses(self, id_: str) -> list[str]:
        """All of a server's."""
        found = self.call("GET", f"/servers/{id_}/ips")["addresses"]
        return [entry["addr"] for entries in found.values() for entry in entries]

    def clean(self) -> None:
        """Delete all servers."""
        for server in self.call("GET", "/servers")["servers"]:
            self.status("DELETE", f"/servers/{server['id']}")
        deadline = time.monotonic() + _PATIENCE_S
        while self.call("GET", "/servers")["servers"] and time.monotonic() < deadline:
            time.sleep(0.05)
