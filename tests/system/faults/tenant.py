"""What a user of the cloud has and does, over HTTP."""

import http.client
import random
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol, Self

from tests.http_client import Http, Refused
from tests.processes import PASSWORD

Listed = Mapping[str, Mapping[str, Any]]
_OCTETS = {"Content-Type": "application/octet-stream"}
_TAGGED = {"OpenStack-API-Version": "compute 2.49"}


class Kind(Protocol):
    """A kind of resource that is made and deleted."""

    def create(self, http: Http, name: str) -> str:
        """The id of the new one. Raises Refused, OSError, HTTPException."""

    def delete(self, http: Http, id_: str) -> None:
        """Raises Refused, OSError, HTTPException."""

    def all(self, http: Http) -> Listed:
        """Those that a Churn made, by id."""


class Tenant:
    """A user in a project of the same name, with a network, and what servers need if it is the administrator."""

    def __init__(self, url: str, name: str = "admin", password: str = PASSWORD) -> None:
        self.url = url
        self._name, self._password = name, password
        self.http = self.login()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def login(self) -> Http:
        """Another connection with a token of its own."""
        http_ = Http(self.url, timeout_s=20)
        http_.login(self._name, self._password, self._name)
        return http_

    def make_network(self) -> None:
        """With a subnet."""
        call = self.http.call
        self.network = call("POST", "/network/v2.0/networks", {"network": {"name": "net"}})["network"]["id"]
        subnet = {"network_id": self.network, "ip_version": 4, "cidr": "10.64.0.0/16"}
        call("POST", "/network/v2.0/subnets", {"subnet": subnet})

    def make_image(self, image: bytes = b"\0" * 1024, disk_format: str = "raw", ram_mib: int = 64) -> None:
        """With a flavor that has room for it."""
        call = self.http.call
        body = {"name": "image", "disk_format": disk_format, "container_format": "bare"}
        self.image = call("POST", "/image/v2/images", body)["id"]
        call("PUT", f"/image/v2/images/{self.image}/file", image, _OCTETS)
        flavor = {"name": f"small-{uuid.uuid4().hex}", "ram": ram_mib, "vcpus": 1, "disk": 1}
        self.flavor = call("POST", "/compute/v2.1/flavors", {"flavor": flavor})["flavor"]["id"]


class Servers:
    """Servers with new ports."""

    def __init__(self, tenant: Tenant, ports: int = 1, zone: str = "nova") -> None:
        self._body = {
            "imageRef": tenant.image,
            "flavorRef": tenant.flavor,
            "networks": [{"uuid": tenant.network}] * ports,
            "availability_zone": zone,
        }

    def create(self, http: Http, name: str) -> str:
        made = http.call("POST", "/compute/v2.1/servers", {"server": {**self._body, "name": name}})
        return str(made["server"]["id"])

    def delete(self, http: Http, id_: str) -> None:
        http.call("DELETE", f"/compute/v2.1/servers/{id_}")

    def all(self, http: Http) -> Listed:
        servers = http.call("GET", "/compute/v2.1/servers/detail")["servers"]
        return {server["id"]: server for server in servers}


class Interfaces:
    """Ports that a server is given and loses again, while it stays."""

    def __init__(self, tenant: Tenant, server: str) -> None:
        self._server = server
        self._network = tenant.network

    def create(self, http: Http, name: str) -> str:
        body = {"interfaceAttachment": {"net_id": self._network, "tag": name}}
        path = f"/compute/v2.1/servers/{self._server}/os-interface"
        return str(http.call("POST", path, body, _TAGGED)["interfaceAttachment"]["port_id"])

    def delete(self, http: Http, id_: str) -> None:
        http.call("DELETE", f"/compute/v2.1/servers/{self._server}/os-interface/{id_}")

    def all(self, http: Http) -> Listed:
        ports = http.call("GET", f"/network/v2.0/ports?device_id={self._server}")["ports"]
        return {port["id"]: port for port in ports}


class Ports:
    """Ports of nobody."""

    def __init__(self, tenant: Tenant) -> None:
        self._network = tenant.network

    def create(self, http: Http, name: str) -> str:
        body = {"port": {"network_id": self._network, "name": name}}
        return str(http.call("POST", "/network/v2.0/ports", body)["port"]["id"])

    def delete(self, http: Http, id_: str) -> None:
        http.call("DELETE", f"/network/v2.0/ports/{id_}")

    def all(self, http: Http) -> Listed:
        ports = http.call("GET", "/network/v2.0/ports")["ports"]
        return {port["id"]: port for port in ports if port["device_owner"] != "network:dhcp"}


class Churn:
    """Creates and deletes at random, and remembers what was acknowledged; an answer that is lost tells nothing."""

    def __init__(
        self, tenant: Tenant, kind: Kind, seed: int, *, most: int = 8, pause_s: float = 0.02
    ) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._http = tenant.login()
        self._kind = kind
        self._chance = random.Random(seed)
        self._seed = seed
        self._most = most
        self._pause_s = pause_s
        self._stop_now = threading.Event()
        self._made = 0
        self.live: set[str] = set()  # acknowledged, and no delete was tried
        self.perhaps: set[str] = set()  # the answer to a delete was lost
        self.gone: set[str] = set()  # its delete was acknowledged
        self.unknown = 0  # creates whose answer was lost
        self.over_quota = 0
        self.surprises: list[str] = []  # answers that no fault explains

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop_now.is_set():
                self._step()
                time.sleep(self._chance.uniform(0, self._pause_s))
        finally:
            self._http.close()

    def stop(self) -> None:
        """Begin nothing more."""
        self._stop_now.set()

    def end(self) -> None:
        """Stop after what is under way."""
        self.stop()
        self._thread.join()

    def _step(self) -> None:
        if len(self.live) < self._most and self._chance.random() < 0.6:
            self._create()
        elif self.live or self.perhaps:
            self._delete(self._chance.choice(sorted(self.live | self.perhaps)))

    def _create(self) -> None:
        self._made += 1
        try:
            self.live.add(self._kind.create(self._http, f"churn-{self._seed}-{self._made}"))
        except Refused as error:
            if error.status < 500:
                self._refused("create", error)
            else:
                self.unknown += 1
                self._rest()
        except (OSError, http.client.HTTPException):
            self.unknown += 1
            self._rest()

    def _delete(self, id_: str) -> None:
        tried = id_ in self.perhaps
        self.live.discard(id_)
        self.perhaps.add(id_)
        try:
            self._kind.delete(self._http, id_)
        except Refused as error:
            if error.status == 404 and tried:
                pass
            elif error.status >= 500:
                return self._rest()
            else:
                return self._refused(f"delete of {id_}", error)
        except (OSError, http.client.HTTPException):
            return self._rest()
        self.perhaps.discard(id_)
        self.gone.add(id_)
        return None

    def _refused(self, what: str, error: Refused) -> None:
        if error.status in (403, 409, 413) and b"uota" in error.body:
            self.over_quota += 1
        else:
            self.surprises.append(f"{what}: {error}")

    def _rest(self) -> None:
        time.sleep(0.1)
