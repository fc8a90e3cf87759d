"""Metering labels and rules as the API has them."""

from typing import Any

import pytest

from fabric.network.collection import METERING_LABELS, ROUTERS
from fabric.runtime.resource import copy_of
from tests.functional.network.harness import Cloud, until

ADMIN = {"token": "p1.admin"}


async def a_label(cloud: Cloud, **attributes: Any) -> dict[str, Any]:
    return await cloud.make("metering_label", name="l", **attributes, **ADMIN)


async def test_a_label_and_its_rules(cloud: Cloud) -> None:
    label = await a_label(cloud, description="d")
    assert (label["project_id"], label["shared"], label["description"]) == ("p1", False, "d")
    rule = await cloud.make(
        "metering_label_rule",
        metering_label_id=label["id"],
        direction="ingress",
        remote_ip_prefix="10.0.1.7/24",
        **ADMIN,
    )
    assert (rule["remote_ip_prefix"], rule["excluded"], rule["source_ip_prefix"]) == (
        "10.0.1.0/24",
        False,
        None,
    )
    assert await cloud.find("metering_label_rule", f"id={rule['id']}", **ADMIN) == [rule]
    assert await cloud.find("metering_label", "id=33", **ADMIN) == []
    assert await cloud.find("metering_label", token="p2.member") == []
    overlapping = {
        "metering_label_id": label["id"],
        "direction": "ingress",
        "remote_ip_prefix": "10.0.0.0/16",
    }
    body = {"metering_label_rule": overlapping}
    path = "/metering/metering-label-rules"
    await cloud.refused(409, "MeteringLabelRuleOverlaps", "POST", path, body, **ADMIN)
    await cloud.make("metering_label_rule", **{**overlapping, "direction": "egress"}, **ADMIN)
    await cloud.refused(403, "PolicyNotAuthorized", "DELETE", f"/metering/metering-labels/{label['id']}")
    await cloud.delete("metering_label", label["id"], **ADMIN)
    assert await cloud.find("metering_label_rule", **ADMIN) == []
    await cloud.refused(404, "MeteringLabelNotFound", "POST", path, body, **ADMIN)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"remote_ip_prefix": "10.0.0.0/24", "source_ip_prefix": "10.0.0.0/24"},
        {"source_ip_prefix": "10.0.0.0/24", "destination_ip_prefix": "fd00::/64"},
        {"remote_ip_prefix": "10.0.0.0/33"},
        {"remote_ip_prefix": "10.0.0.0/24", "direction": "up"},
    ],
)
async def test_rules_that_cannot_be(cloud: Cloud, attributes: dict[str, str]) -> None:
    label = await a_label(cloud)
    rule = {"metering_label_id": label["id"], "direction": "ingress", **attributes}
    body = {"metering_label_rule": rule}
    reply = await cloud.call("POST", "/metering/metering-label-rules", body, **ADMIN)
    assert reply.status_code == 400, reply.text


async def test_nodes_with_routers_of_the_project_are_told(cloud: Cloud) -> None:
    label = await a_label(cloud, project_id="p2")
    shared = await a_label(cloud, shared=True)
    rule = {"metering_label_id": label["id"], "direction": "egress", "source_ip_prefix": "10.0.0.0/8"}
    await cloud.make("metering_label_rule", **rule, **ADMIN)
    router = await cloud.make("router", token="p2.member")

    async def place(node: str) -> None:
        async with cloud.store.transaction() as txn:
            moved = copy_of(cloud.store.get(ROUTERS, router["id"]))
            moved.node = node
            txn.update(ROUTERS, moved)

    def told(node: str) -> dict[str, int]:
        wants = cloud.store.wanted(METERING_LABELS, node)
        return {id_: len(want.rules) for id_ in wants.ids() if (want := wants.get(id_)) is not None}

    await place("n1")
    await until(lambda: told("n1") == {label["id"]: 1, shared["id"]: 0})
    await place("")
    await until(lambda: told("n1") == {})
