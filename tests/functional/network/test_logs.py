"""Logs: what they may be of, which nodes are told, and when they end."""

import asyncio
from typing import Any

from fabric.network.collection import LOGS
from fabric.runtime.codec import Codec
from fabric.runtime.node import Life
from fabric.type.v1 import node_pb2
from tests.functional.network.harness import Cloud, until

PATH = "/log/logs"
ADMIN: dict[str, Any] = {"token": "p1.admin"}


async def a_log(cloud: Cloud, **attributes: Any) -> dict[str, Any]:
    reply = await cloud.call(
        "POST", PATH, {"log": {"resource_type": "security_group", **attributes}}, **ADMIN
    )
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()["log"]
    return made


async def test_a_log_lives_as_long_as_what_it_is_of(cloud: Cloud) -> None:
    group = await cloud.make("security_group", name="g")
    net = await cloud.make("network")
    port = await cloud.make("port", network_id=net["id"])
    log = await a_log(cloud, name="l", resource_id=group["id"])
    assert (log["event"], log["enabled"], log["target_id"], log["project_id"]) == ("ALL", True, None, "p1")
    path = f"{PATH}/{log['id']}"
    body = {"log": {"enabled": False, "description": "d"}}
    changed = (await cloud.call("PUT", path, body, **ADMIN)).json()["log"]
    assert (changed["enabled"], changed["description"]) == (False, "d")
    await cloud.refused(400, "HTTPBadRequest", "PUT", path, {"log": {"event": "DROP"}}, **ADMIN)
    of_port = await a_log(cloud, target_id=port["id"])
    assert len((await cloud.call("GET", PATH, **ADMIN)).json()["logs"]) == 2
    await cloud.refused(404, "LogResourceNotFound", "GET", path)
    assert (await cloud.call("GET", PATH)).json() == {"logs": []}
    await cloud.delete("security_group", group["id"])
    await cloud.refused(404, "LogResourceNotFound", "GET", path, **ADMIN)
    await cloud.delete("port", port["id"])
    await cloud.refused(404, "LogResourceNotFound", "GET", f"{PATH}/{of_port['id']}", **ADMIN)


async def test_what_logs_cannot_be_of(cloud: Cloud) -> None:
    group = await cloud.make("security_group", name="g")
    net = await cloud.make("network")
    port = await cloud.make("port", network_id=net["id"])
    absent = "7c1d5a6a-0c55-4f2e-9f0a-59e7b5f6a001"
    for status, kind, attributes in (
        (400, "InvalidLogResourceType", {"resource_type": "colour"}),
        (404, "ResourceNotFound", {"resource_id": absent}),
        (404, "TargetResourceNotFound", {"target_id": absent}),
        (400, "InvalidResourceConstraint", {"resource_id": group["id"], "target_id": port["id"]}),
    ):
        body = {"log": {"resource_type": "security_group", **attributes}}
        await cloud.refused(status, kind, "POST", PATH, body, **ADMIN)
    await cloud.refused(
        403, "PolicyNotAuthorized", "POST", PATH, {"log": {"resource_type": "security_group"}}
    )


async def test_nodes_of_logged_ports_are_told(cloud: Cloud) -> None:
    group = await cloud.make("security_group", name="g")
    net = await cloud.make("network")
    of_group = await a_log(cloud, resource_id=group["id"])
    of_project = await a_log(cloud)
    on: dict[str, Any] = {"network_id": net["id"], "binding:host_id": "n1", **ADMIN}
    port = await cloud.make("port", security_groups=[], **on)

    def told() -> set[str]:
        return set(cloud.store.wanted(LOGS, "n1").ids())

    await until(lambda: told() == {of_project["id"]})
    await cloud.put("port", port["id"], security_groups=[group["id"]])
    await until(lambda: told() == {of_project["id"], of_group["id"]})
    await cloud.call("PUT", f"{PATH}/{of_project['id']}", {"log": {"enabled": False}}, **ADMIN)
    await until(lambda: told() == {of_group["id"]})


async def test_what_can_be_logged_is_what_living_nodes_can_log(cloud: Cloud) -> None:
    path = "/log/loggable-resources"
    assert (await cloud.call("GET", path, **ADMIN)).json() == {"loggable_resources": []}
    sign = node_pb2.Life(node="n1", agent="network")
    sign.detail["loggable"] = ["security_group"]
    alive = asyncio.create_task(Life(cloud.store.etcd, Codec(), sign, ttl_s=5).hold(asyncio.Event()))
    try:
        await until(lambda: bool(cloud.store.lives()))
        found = (await cloud.call("GET", path, **ADMIN)).json()["loggable_resources"]
        assert found == [{"type": "security_group"}]
        listed = (await cloud.call("GET", "/extensions")).json()["extensions"]
        aliases = {extension["alias"] for extension in listed}
        assert "logging" in aliases
        assert "trunk" not in aliases
        await cloud.refused(404, "ExtensionNotFound", "GET", "/extensions/trunk")
    finally:
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)
