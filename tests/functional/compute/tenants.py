"""Who calls a cloud of fake nodes in these tests, and what servers are made of there; a conftest.py has the cloud."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.functional.compute.api import Compute
from tests.http_client import Http
from tests.processes import DEMO_PASSWORD, PASSWORD, ProcessCloud


@dataclass(frozen=True)
class Furniture:
    """What servers are made of."""

    image: str
    network: str
    flavor: str


@pytest.fixture
def admin(cloud: ProcessCloud) -> Iterator[Compute]:
    with Http(cloud.url) as http:
        http.login("admin", PASSWORD, "admin")
        yield Compute(http)


@pytest.fixture(scope="package")
def furniture(cloud: ProcessCloud) -> Furniture:
    return furnished(cloud)


def furnished(cloud: ProcessCloud) -> Furniture:
    """Made once in the cloud."""
    with Http(cloud.url) as http:
        http.login("demo", DEMO_PASSWORD, "demo")
        network = http.call("POST", "/network/v2.0/networks", {"network": {"name": "net"}})["network"]["id"]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.1.0.0/20"}
        http.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
        image = {"name": "image", "disk_format": "raw", "container_format": "bare"}
        image_id = http.call("POST", "/image/v2/images", image)["id"]
        octets = {"Content-Type": "application/octet-stream"}
        http.call("PUT", f"/image/v2/images/{image_id}/file", b"\0" * 4096, octets)
    flavor = {"name": "small", "ram": 64, "vcpus": 1, "disk": 1}
    with Http(cloud.url) as http:
        http.login("admin", PASSWORD, "admin")
        flavor_id = Compute(http).call("POST", "/flavors", {"flavor": flavor})["flavor"]["id"]
    return Furniture(image_id, network, flavor_id)


@pytest.fixture
def demo(cloud: ProcessCloud, furniture: Furniture) -> Iterator[Compute]:
    """A plain user, whose servers go at the end of the test."""
    with Http(cloud.url) as http:
        http.login("demo", DEMO_PASSWORD, "demo")
        compute = Compute(http, furniture.image, furniture.network, furniture.flavor)
        yield compute
        compute.clean()
