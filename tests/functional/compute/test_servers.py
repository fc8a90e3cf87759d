"""Servers from their creation to their end."""

import asyncio
import time
import uuid

import pytest

from fabric.compute import instance_action
from fabric.compute.server import SERVERS
from fabric.ctl.cloud_state import cloud_state
from fabric.runtime.caller import Caller
from fabric.runtime.config import load
from fabric.runtime.resource import copy_of
from tests.functional.compute.api import Compute
from tests.processes import ProcessCloud, wait_for


def test_a_server_boots_and_goes(demo: Compute) -> None:
    id_ = demo.boot(metadata={"a": "b"})
    server = demo.show(id_)
    assert server["metadata"] == {"a": "b"}
    assert server["OS-EXT-STS:power_state"] == 1
    assert server["addresses"]["net"][0]["OS-EXT-IPS-MAC:mac_addr"].startswith("fa:16:3e:")
    assert server["security_groups"] == [{"name": "default"}]
    assert server["OS-EXT-AZ:availability_zone"] == "nova"
    assert demo.status("DELETE", f"/servers/{id_}") == 204
    demo.gone(id_)
    assert demo.status("DELETE", f"/servers/{id_}") == 404


@pytest.mark.parametrize(
    ("actions", "status"),
    [
        (["os-stop"], "SHUTOFF"),
        (["os-stop", "os-start"], "ACTIVE"),
        (["pause"], "PAUSED"),
        (["pause", "unpause"], "ACTIVE"),
        (["suspend"], "SUSPENDED"),
        (["suspend", "resume"], "ACTIVE"),
    ],
)
def test_power_actions_reach_their_state(demo: Compute, actions: list[str], status: str) -> None:
    id_ = demo.boot()
    between = {"os-stop": "SHUTOFF", "pause": "PAUSED", "suspend": "SUSPENDED"}
    for action in actions:
        demo.act(id_, action)
        demo.settle(id_, between.get(action, "ACTIVE"))
    assert demo.show(id_)["status"] == status


def test_reboots_come_back(demo: Compute) -> None:
    id_ = demo.boot()
    for kind in ("SOFT", "HARD"):
        demo.act(id_, "reboot", {"type": kind})
        demo.settle(id_, "ACTIVE")
    demo.act(id_, "os-stop")
    demo.settle(id_, "SHUTOFF")
    demo.act(id_, "reboot", {"type": "HARD"})
    demo.settle(id_, "ACTIVE")


def test_what_cannot_be_done_in_a_state_is_a_conflict(demo: Compute) -> None:
    id_ = demo.boot()
    status, message = demo.refused("POST", f"/servers/{id_}/action", {"os-start": None})
    assert (status, message) == (409, f"Cannot 'start' instance {id_} while it is in vm_state active")


def test_a_locked_server_is_left_alone(demo: Compute, admin: Compute) -> None:
    id_ = demo.boot()
    demo.act(id_, "lock", {"locked_reason": "mine"}, version="2.73")
    assert demo.show(id_, version="2.73")["locked_reason"] == "mine"
    assert demo.refused("POST", f"/servers/{id_}/action", {"os-stop": None})[0] == 409
    assert demo.refused("DELETE", f"/servers/{id_}")[0] == 409
    demo.act(id_, "unlock")
    admin.act(id_, "lock")
    assert demo.refused("POST", f"/servers/{id_}/action", {"unlock": None})[0] == 403
    admin.act(id_, "unlock")


def test_the_addresses_of_a_server_are_those_of_its_ports(demo: Compute) -> None:
    id_ = demo.boot()
    (first,) = demo.addresses(id_)
    demo.act(id_, "addFixedIp", {"networkId": demo.network})
    wait_for(lambda: len(demo.addresses(id_)) == 2, 30, "a second address")
    (port,) = demo.http.call("GET", f"/network/v2.0/ports?device_id={id_}")["ports"]
    assert [fixed["ip_address"] for fixed in port["fixed_ips"]] == demo.addresses(id_)
    demo.act(id_, "removeFixedIp", {"address": first})
    wait_for(lambda: first not in demo.addresses(id_), 30, "the first address to go")
    body = {"port": {"fixed_ips": [{"ip_address": "10.1.9.9"}]}}
    demo.http.call("PUT", f"/network/v2.0/ports/{port['id']}", body)
    wait_for(lambda: demo.addresses(id_) == ["10.1.9.9"], 30, "what the network service says")
    assert demo.refused("POST", f"/servers/{id_}/action", {"removeFixedIp": {"address": first}})[0] == 400
    assert demo.refused("POST", f"/servers/{id_}/action", {"addFixedIp": {"networkId": id_}})[0] == 400


def test_a_long_host_name_is_no_name_in_dns(demo: Compute) -> None:
    wish = {"server": demo.wish(hostname=f"{'x' * 63}.example.org")}
    id_ = demo.call("POST", "/servers", wish, version="2.94")["server"]["id"]
    demo.settle(id_, "ACTIVE")
    (port,) = demo.http.call("GET", f"/network/v2.0/ports?device_id={id_}")["ports"]
    assert port["dns_name"] == "x" * 63


def test_an_interface_comes_and_goes(demo: Compute) -> None:
    id_ = demo.boot()
    body = {"interfaceAttachment": {"net_id": demo.network}}
    port = demo.call("POST", f"/servers/{id_}/os-interface", body)["interfaceAttachment"]
    wait_for(lambda: len(demo.addresses(id_)) == 2, 30, "the second address")
    assert port["fixed_ips"][0]["ip_address"] in demo.addresses(id_)
    listed = demo.call("GET", f"/servers/{id_}/os-interface")["interfaceAttachments"]
    assert {entry["port_id"] for entry in listed} >= {port["port_id"]}
    demo.call("DELETE", f"/servers/{id_}/os-interface/{port['port_id']}")
    wait_for(lambda: len(demo.addresses(id_)) == 1, 30, "one address")
    path = f"/network/v2.0/ports/{port['port_id']}"
    wait_for(lambda: demo.http.exchange("GET", path)[0] == 404, 30, "the port to go")


def test_a_port_whose_maker_died_is_let_go_of(cloud: ProcessCloud, demo: Compute) -> None:
    """As one is that was made to be attached."""
    id_ = demo.boot()
    asked = {"port": {"network_id": demo.network, "device_id": id_, "device_owner": "compute:nova"}}
    port = demo.http.call("POST", "/network/v2.0/ports", asked)["port"]["id"]
    asyncio.run(promised_long_ago(cloud, id_, port))
    wait_for(lambda: demo.http.exchange("GET", f"/network/v2.0/ports/{port}")[0] == 404, 30, "the port to go")
    assert demo.show(id_)["status"] == "ACTIVE"


def test_a_port_that_cannot_be_bound_is_refused_and_the_server_goes_on(
    cloud: ProcessCloud, demo: Compute
) -> None:
    id_ = demo.boot()
    other = demo.boot()
    (taken,) = demo.http.call("GET", f"/network/v2.0/ports?device_id={other}")["ports"]
    asyncio.run(asked_for(cloud, id_, taken["id"]))
    said = f"Port {taken['id']} is still in use."
    path = f"/servers/{id_}/os-instance-actions/req-attach"
    wait_for(lambda: demo.call("GET", path)["instanceAction"]["message"] == said, 30, "why it was refused")
    assert demo.show(id_)["status"] == "ACTIVE"
    assert len(demo.call("GET", f"/servers/{id_}/os-interface")["interfaceAttachments"]) == 1
    demo.act(id_, "os-stop")
    demo.settle(id_, "SHUTOFF")
    (still,) = demo.http.call("GET", f"/network/v2.0/ports?device_id={other}")["ports"]
    assert still["id"] == taken["id"]


async def asked_for(cloud: ProcessCloud, server: str, port: str) -> None:
    """As by a call that saw the port free just before somebody took it."""
    async with cloud_state(load(cloud.config)) as store, store.transaction() as txn:
        changed = copy_of(store.get(SERVERS, server))
        instance_action.record(store, txn, changed, "attach_interface", Caller(request_id="req-attach"))
        changed.spec.networks.add(port_id=port)
        txn.update(SERVERS, changed)


async def promised_long_ago(cloud: ProcessCloud, server: str, port: str) -> None:
    async with cloud_state(load(cloud.config)) as store, store.transaction() as txn:
        changed = copy_of(store.get(SERVERS, server))
        changed.promised_ports.add(port_id=port).create_time.FromSeconds(int(time.time()) - 300)
        txn.update(SERVERS, changed)


def test_a_port_of_the_user_outlives_the_server(demo: Compute) -> None:
    body = {"port": {"network_id": demo.network}}
    port = demo.http.call("POST", "/network/v2.0/ports", body)["port"]["id"]
    id_ = demo.boot(networks=[{"port": port}])
    assert demo.http.call("GET", f"/network/v2.0/ports/{port}")["port"]["device_id"] == id_
    assert demo.refused("POST", "/servers", {"server": demo.wish(networks=[{"port": port}])})[0] == 409
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    assert demo.http.call("GET", f"/network/v2.0/ports/{port}")["port"]["device_id"] == ""
    demo.http.call("DELETE", f"/network/v2.0/ports/{port}")


def test_actions_are_remembered_after_the_end(demo: Compute) -> None:
    id_ = demo.boot()
    demo.act(id_, "os-stop")
    demo.settle(id_, "SHUTOFF")
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    actions = demo.call("GET", f"/servers/{id_}/os-instance-actions", version="2.51")["instanceActions"]
    assert [action["action"] for action in actions] == ["delete", "stop", "create"]
    path = f"/servers/{id_}/os-instance-actions/{actions[2]['request_id']}"
    (event,) = demo.call("GET", path, version="2.51")["instanceAction"]["events"]
    assert event["result"] == "Success"


def test_several_servers_are_made_at_once(demo: Compute) -> None:
    wish = demo.wish(min_count=2, max_count=3, return_reservation_id=True)
    reservation = demo.call("POST", "/servers", {"server": wish})["reservation_id"]
    found = demo.call("GET", f"/servers?reservation_id={reservation}")["servers"]
    assert sorted(server["name"] for server in found) == ["s-1", "s-2", "s-3"]


def test_too_much_is_refused_whole(demo: Compute) -> None:
    status, message = demo.refused("POST", "/servers", {"server": demo.wish(min_count=11)})
    assert status == 403
    assert "instances" in message
    assert demo.call("GET", "/servers")["servers"] == []


def test_the_console_is_read_from_the_node(demo: Compute) -> None:
    id_ = demo.boot()
    assert id_ in demo.act(id_, "os-getConsoleOutput", {"length": 5})["output"]
    assert (
        demo.act(id_, "os-getConsoleOutput", {"length": 1})["output"] == ""
    )  # nothing is on the last line yet


def test_a_server_of_others_does_not_exist(demo: Compute, admin: Compute) -> None:
    id_ = demo.boot()
    assert admin.show(id_)["OS-EXT-SRV-ATTR:host"] == "node1"
    assert id_ not in {server["id"] for server in admin.call("GET", "/servers")["servers"]}
    everywhere = admin.call("GET", "/servers?all_tenants=1")["servers"]
    assert id_ in {server["id"] for server in everywhere}
    assert demo.refused("GET", "/servers?all_tenants=1")[0] == 403
    assert admin.call("GET", "/servers?all_tenants=1&status=DELETED")["servers"] == []
    assert demo.refused("GET", "/servers?status=DELETED")[0] == 403
    assert demo.refused("GET", f"/servers/{uuid.uuid4()}")[0] == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=web", ["web-1", "web-2"]),
        ("name=%5Eweb-1%24", ["web-1"]),
        ("status=active", ["web-1", "web-2", "db"]),
        ("status=error", []),
        ("sort_key=display_name&sort_dir=asc", ["db", "web-1", "web-2"]),
        ("sort_key=display_name&sort_dir=asc&limit=1", ["db"]),
        ("host=nowhere", ["web-1", "web-2", "db"]),  # only administrators' lists take notice
        ("changes-since=2100-01-01T00:00:00Z", []),
        ("ip=10.1.", ["web-1", "web-2", "db"]),
        ("limit=0", []),
    ],
)
def test_lists_are_filtered(demo: Compute, query: str, names: list[str]) -> None:
    for name in ("web-1", "web-2", "db"):
        demo.boot(name=name)
    found = [server["name"] for server in demo.call("GET", f"/servers/detail?{query}")["servers"]]
    assert found == names if "sort" in query else sorted(found) == sorted(names)


def test_pages_follow_their_links(demo: Compute) -> None:
    ids = {demo.create() for _ in range(3)}
    seen, path = set(), "/servers?limit=2"
    while path:
        page = demo.call("GET", path)
        seen |= {server["id"] for server in page["servers"]}
        links = page.get("servers_links", [])
        path = links[0]["href"].partition("/compute/v2.1")[2] if links else ""
    assert seen == ids


def test_metadata_and_tags_change_item_by_item(demo: Compute) -> None:
    base = f"/servers/{demo.create()}"
    demo.call("POST", f"{base}/metadata", {"metadata": {"a": "1", "b": "2"}})
    demo.call("PUT", f"{base}/metadata/a", {"meta": {"a": "3"}})
    demo.call("DELETE", f"{base}/metadata/b")
    assert demo.call("GET", f"{base}/metadata")["metadata"] == {"a": "3"}
    assert demo.refused("GET", f"{base}/metadata/b")[0] == 404
    assert demo.status("PUT", f"{base}/tags/x", version="2.26") == 201
    assert demo.status("PUT", f"{base}/tags/x", version="2.26") == 204
    assert demo.status("PUT", f"{base}/tags/%E2%82%AC%0D%0A", version="2.26") == 201  # named in a header
    demo.call("PUT", f"{base}/tags", {"tags": ["y", "z"]}, version="2.26")
    assert demo.status("DELETE", f"{base}/tags/x", version="2.26") == 404
    assert demo.call("GET", f"{base}/tags", version="2.26")["tags"] == ["y", "z"]
    assert demo.status("GET", f"{base}/tags") == 404


def test_an_operator_marks_a_server_as_broken_and_sound(demo: Compute, admin: Compute) -> None:
    id_ = demo.boot()
    admin.act(id_, "os-resetState", {"state": "error"})
    assert demo.show(id_)["status"] == "ERROR"
    admin.act(id_, "os-resetState", {"state": "active"})
    assert demo.show(id_)["status"] == "ACTIVE"
    assert demo.refused("POST", f"/servers/{id_}/action", {"os-resetState": {"state": "error"}})[0] == 403


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"name": ""}, "name"),
        ({"foo": 1}, "foo"),
        ({"flavorRef": "none"}, "Flavor"),
        ({"imageRef": "b4376cdd-f30a-4ca1-abac-f4aba1ecbc9b"}, "Image"),
        ({"imageRef": "x"}, "imageRef"),
        ({"networks": [{"uuid": "b4376cdd-f30a-4ca1-abac-f4aba1ecbc9b"}]}, "Network"),
        ({"networks": [{"fixed_ip": "1.2.3.4"}]}, "networks"),
        ({"key_name": "none"}, "key_name"),
        ({"availability_zone": "none"}, "availability zone"),
        ({"security_groups": [{"name": "none"}]}, "Security group"),
        ({"user_data": "%%"}, "user_data"),
        ({"metadata": {"a": 1}}, "a"),
        ({"accessIPv4": "1.2"}, "accessIPv4"),
        ({"min_count": 3, "max_count": 2}, "min_count"),
    ],
)
def test_a_wrong_wish_names_what_is_wrong(demo: Compute, change: dict[str, object], names: str) -> None:
    status, message = demo.refused("POST", "/servers", {"server": demo.wish(**change)})
    assert status == 400
    assert names in message
    assert demo.call("GET", "/servers")["servers"] == []


def test_a_rebuild_keeps_all_but_the_disk(demo: Compute) -> None:
    id_ = demo.boot()
    before = demo.show(id_)
    body = {"imageRef": demo.image, "name": "anew", "metadata": {"a": "b"}, "adminPass": "secret"}
    answer = demo.act(id_, "rebuild", body)["server"]
    assert (answer["status"], answer["adminPass"], answer["name"]) == ("REBUILD", "secret", "anew")
    assert answer.keys() - {"adminPass"} <= before.keys()
    demo.settle(id_, "ACTIVE")
    after = demo.show(id_)
    assert (after["addresses"], after["hostId"]) == (before["addresses"], before["hostId"])
    assert (after["name"], after["metadata"]) == ("anew", {"a": "b"})
    actions = demo.call("GET", f"/servers/{id_}/os-instance-actions")["instanceActions"]
    assert [action["action"] for action in actions] == ["rebuild", "create"]


def test_a_rebuild_keeps_a_key_that_is_gone_by_now_until_another_is_named(demo: Compute) -> None:
    demo.call("POST", "/os-keypairs", {"keypair": {"name": "first"}})
    id_ = demo.boot(key_name="first")
    demo.call("DELETE", "/os-keypairs/first")
    for more, left in (({}, "first"), ({"key_name": None}, None)):
        rebuild = {"imageRef": demo.image} | more
        assert demo.act(id_, "rebuild", rebuild, version="2.54")["server"]["key_name"] == left
        demo.settle(id_, "ACTIVE")


def test_a_server_that_is_off_is_rebuilt_and_stays_off(demo: Compute) -> None:
    id_ = demo.boot()
    demo.act(id_, "os-stop")
    demo.settle(id_, "SHUTOFF")
    answer = demo.act(id_, "rebuild", {"imageRef": demo.image, "user_data": "aGk="}, version="2.57")
    assert (answer["server"]["user_data"], answer["server"]["status"]) == ("aGk=", "REBUILD")
    demo.settle(id_, "SHUTOFF")


def test_what_cannot_be_rebuilt_is_left_as_it_is(demo: Compute) -> None:
    id_ = demo.boot()
    path, fine = f"/servers/{id_}/action", {"imageRef": demo.image}
    for wrong in ({"imageRef": id_}, fine | {"key_name": "none"}, fine | {"preserve_ephemeral": True}):
        assert demo.refused("POST", path, {"rebuild": wrong}, version="2.54")[0] == 400
    demo.act(id_, "pause")
    demo.settle(id_, "PAUSED")
    assert demo.refused("POST", path, {"rebuild": fine})[0] == 409
    demo.act(id_, "unpause")
    demo.settle(id_, "ACTIVE")
    demo.act(id_, "lock")
    assert demo.refused("POST", path, {"rebuild": fine})[0] == 409
    demo.act(id_, "unlock")


@pytest.mark.parametrize("before", [[], ["os-stop"], ["pause"]])
def test_an_image_of_a_server_boots_another(demo: Compute, before: list[str]) -> None:
    id_ = demo.boot()
    for action in before:
        demo.act(id_, action)
        demo.settle(id_, {"os-stop": "SHUTOFF", "pause": "PAUSED"}[action])
    status = demo.show(id_)["status"]
    body = {"name": "made of it", "metadata": {"key": "value"}}
    image_id = demo.act(id_, "createImage", body, version="2.45")["image_id"]
    wait_for(lambda: demo.image_of(image_id)["status"] == "active", 30, "the image")
    demo.settle(id_, status)
    image = demo.image_of(image_id)
    assert (image["image_type"], image["instance_uuid"], image["key"]) == ("snapshot", id_, "value")
    assert (image["base_image_ref"], image["visibility"], image["min_disk"]) == (demo.image, "private", 1)
    demo.boot(imageRef=image_id)
    (made,) = [action for action in demo.actions(id_) if action["action"] == "createImage"]
    assert (made["message"], made["events"][0]["result"]) == (None, "Success")
    demo.http.call("DELETE", f"/image/v2/images/{image_id}")


def test_only_so_many_backups_of_a_type_are_kept(demo: Compute) -> None:
    id_, made = demo.boot(), []
    for kind, kept in (("daily", 2), ("weekly", 1), ("daily", 2), ("daily", 1)):
        body = {"name": "backup", "backup_type": kind, "rotation": kept}
        made.append(demo.act(id_, "createBackup", body, version="2.45")["image_id"])
        demo.settle(id_, "ACTIVE")
    left = {i["id"] for i in demo.http.call("GET", "/image/v2/images?name=backup")["images"]}
    assert left == {made[1], made[3]}
    for image_id in left:
        demo.http.call("DELETE", f"/image/v2/images/{image_id}")


def test_an_image_that_is_deleted_meanwhile_ends_its_snapshot(demo: Compute) -> None:
    id_ = demo.boot()
    image_id = demo.act(id_, "createImage", {"name": "short"}, version="2.45")["image_id"]
    demo.http.call("DELETE", f"/image/v2/images/{image_id}")
    demo.settle(id_, "ACTIVE")
    assert demo.http.exchange("GET", f"/image/v2/images/{image_id}")[0] == 404


def test_a_server_that_goes_takes_its_unfinished_image_along(demo: Compute) -> None:
    id_ = demo.boot()
    image_id = demo.act(id_, "createImage", {"name": "short"}, version="2.45")["image_id"]
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    status, _, _ = demo.http.exchange("GET", f"/image/v2/images/{image_id}")
    assert status == 404 or demo.image_of(image_id)["status"] == "active"


def test_what_no_image_is_made_of(demo: Compute) -> None:
    id_ = demo.boot()
    path = f"/servers/{id_}/action"
    assert demo.refused("POST", path, {"createImage": {"name": "x" * 256}})[0] == 400
    assert demo.refused("POST", path, {"createImage": {"name": "x", "metadata": {"k": "v" * 256}}})[0] == 400
    many = {str(number): "x" for number in range(129)}
    assert demo.refused("POST", path, {"createImage": {"name": "x", "metadata": many}})[0] == 403
    assert demo.refused("POST", path, {"createBackup": {"name": "x", "backup_type": "d"}})[0] == 400
    demo.act(id_, "os-stop")
    assert demo.refused("POST", path, {"createImage": {"name": "x"}})[0] == 409
    demo.settle(id_, "SHUTOFF")
