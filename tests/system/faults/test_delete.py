"""Claim C5: a server with four ports and a floating IP is deleted while somebody is killed; nothing of it is left."""

import asyncio
import random
import threading
import time
from http.client import HTTPException

import pytest

from tests.http_client import Refused
from tests.processes import ProcessCloud
from tests.size import size
from tests.system.faults.storm import SEED, VICTIMS, clean, complaints, within_target
from tests.system.faults.tenant import Servers, Tenant

ROUNDS = size("FABRIC_DELETES", 4, 100)
GONE_S = 60.0
PORTS = 4


@pytest.mark.timeout(120 + 15 * ROUNDS)
def test_nothing_is_left_of_a_server_whoever_is_killed(cloud: ProcessCloud, admin: Tenant) -> None:
    print(f"FABRIC_FAULT_SEED={SEED} FABRIC_DELETES={ROUNDS}")
    chance, servers = random.Random(SEED), Servers(admin, ports=PORTS)
    outer = leads_outside(admin)
    took = []
    for turn in range(ROUNDS):
        id_ = servers.create(admin.http, f"deleted-{turn}")
        within_target(lambda: complaints(admin, servers, []))
        floating = floating_ip(admin, outer, id_)
        killed = threading.Timer(chance.uniform(0, 0.4), cloud.restart, [VICTIMS[turn % len(VICTIMS)]])
        killed.start()
        delete(admin, servers, id_)
        killed.join()
        began = time.monotonic()
        within_target(lambda id_=id_, floating=floating: left(admin, servers, id_, floating), GONE_S)  # type: ignore[misc]
        took.append(time.monotonic() - began)
        admin.http.call("DELETE", f"/network/v2.0/floatingips/{floating}")
    print(f"{ROUNDS} servers: nothing left after {max(took):.1f} s at most")
    within_target(lambda: "\n".join(asyncio.run(clean(cloud))))


def leads_outside(admin: Tenant) -> str:
    """An external network that the tenant's network has a router to."""

    def call(method: str, path: str, **body: object) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = admin.http.call(method, f"/network/v2.0{path}", body)
        return found

    outer = call("POST", "/networks", network={"name": "public", "router:external": True})["network"]["id"]
    subnet = {"network_id": outer, "ip_version": 4, "cidr": "172.24.4.0/24", "enable_dhcp": False}
    call("POST", "/subnets", subnet=subnet)
    router = call("POST", "/routers", router={"external_gateway_info": {"network_id": outer}})["router"]["id"]
    (inner,) = admin.http.call("GET", f"/network/v2.0/subnets?network_id={admin.network}")["subnets"]
    call("PUT", f"/routers/{router}/add_router_interface", subnet_id=inner["id"])
    return outer


def floating_ip(admin: Tenant, outer: str, server: str) -> str:
    port = ports(admin, server)[0]
    asked = {"floatingip": {"floating_network_id": outer, "port_id": port}}
    return str(admin.http.call("POST", "/network/v2.0/floatingips", asked)["floatingip"]["id"])


def ports(admin: Tenant, server: str) -> list[str]:
    found = admin.http.call("GET", f"/network/v2.0/ports?device_id={server}")["ports"]
    return [port["id"] for port in found]


def delete(admin: Tenant, servers: Servers, id_: str) -> None:
    """Ask for it until it was heard."""
    while True:
        try:
            return servers.delete(admin.http, id_)
        except Refused as error:
            if error.status == 404:  # an answer was lost
                return None
            if error.status < 500:
                raise
        except (OSError, HTTPException):
            pass
        time.sleep(0.1)


def left(admin: Tenant, servers: Servers, id_: str, floating: str) -> str:
    """What there still is of the server; empty: nothing."""
    try:
        if id_ in servers.all(admin.http):
            return f"server {id_}"
        if found := ports(admin, id_):
            return f"ports {found}"
        leads = admin.http.call("GET", f"/network/v2.0/floatingips/{floating}")["floatingip"]["port_id"]
    except (OSError, HTTPException, Refused) as error:
        return f"the API does not answer: {error}"
    return f"floating IP of port {leads}" if leads else ""
