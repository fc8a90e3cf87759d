"""Servers on the shelf and back, on a cloud of fake nodes."""

import pytest

from tests.functional.compute.api import Compute
from tests.processes import wait_for

SHELVED = "s-shelved"


def images(demo: Compute) -> list[str]:
    """The images of shelved servers."""
    found = demo.http.call("GET", f"/image/v2/images?name={SHELVED}")["images"]
    return [image["id"] for image in found]


def ports(demo: Compute, id_: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = demo.http.call("GET", f"/network/v2.0/ports?device_id={id_}")["ports"]
    return found


def taken(admin: Compute) -> tuple[int, int]:
    """What all nodes have given, and what the project has used."""
    limits = admin.call("GET", "/os-hypervisors/detail")["hypervisors"]
    return sum(node["memory_mb_used"] for node in limits), sum(node["running_vms"] for node in limits)


def shelve(demo: Compute, id_: str) -> None:
    demo.act(id_, "shelve")
    demo.settle(id_, "SHELVED_OFFLOADED")


@pytest.mark.parametrize("before", [[], ["os-stop"], ["pause"], ["suspend"]])
def test_a_shelved_server_has_an_image_and_its_addresses_and_no_node(
    demo: Compute, admin: Compute, before: list[str]
) -> None:
    free = taken(admin)
    id_ = demo.boot()
    for action in before:
        demo.act(id_, action)
        demo.settle(id_, {"os-stop": "SHUTOFF", "pause": "PAUSED", "suspend": "SUSPENDED"}[action])
    addresses, (port,), launched = (
        demo.addresses(id_),
        ports(admin, id_),
        demo.show(id_)["OS-SRV-USG:launched_at"],
    )
    shelve(demo, id_)
    seen = admin.show(id_)
    assert (seen["OS-EXT-SRV-ATTR:host"], seen["hostId"], seen["OS-EXT-STS:power_state"]) == (None, "", 4)
    assert (seen["OS-EXT-STS:vm_state"], seen["OS-SRV-USG:launched_at"]) == ("shelved_offloaded", launched)
    assert taken(admin) == free
    assert demo.call("GET", "/limits")["limits"]["absolute"]["totalInstancesUsed"] == 1
    assert demo.addresses(id_) == addresses
    (unbound,) = ports(admin, id_)
    assert (unbound["id"], unbound["binding:host_id"], unbound["status"]) == (port["id"], "", "DOWN")
    assert [s["id"] for s in demo.call("GET", "/servers?status=SHELVED_OFFLOADED")["servers"]] == [id_]
    (image,) = images(demo)
    assert demo.image_of(image)["base_image_ref"] == demo.image

    demo.act(id_, "unshelve")
    demo.settle(id_, "ACTIVE")
    (bound,) = ports(admin, id_)
    assert bound["binding:host_id"] == admin.show(id_)["OS-EXT-SRV-ATTR:host"]
    assert (demo.addresses(id_), demo.show(id_)["image"]["id"]) == (addresses, demo.image)
    wait_for(lambda: images(demo) == [], 30, "the image to go")
    done = {action["action"]: action["events"][0]["result"] for action in demo.actions(id_)}
    assert (done["shelve"], done["unshelve"]) == ("Success", "Success")


def test_a_shelved_server_that_is_deleted_takes_its_image_along(demo: Compute) -> None:
    id_ = demo.boot()
    shelve(demo, id_)
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    assert images(demo) == []


def test_one_that_is_deleted_on_its_way_leaves_no_image(demo: Compute) -> None:
    id_ = demo.boot()
    demo.act(id_, "shelve")
    demo.call("DELETE", f"/servers/{id_}")
    demo.gone(id_)
    assert images(demo) == []


def test_what_a_shelved_server_cannot_do_is_a_conflict(demo: Compute, admin: Compute) -> None:
    id_ = demo.boot()
    path = f"/servers/{id_}/action"
    assert demo.refused("POST", path, {"unshelve": None})[0] == 409
    assert admin.refused("POST", path, {"shelveOffload": None})[0] == 409
    shelve(demo, id_)
    refused = {
        "shelve": None,
        "os-start": None,
        "os-stop": None,
        "pause": None,
        "suspend": None,
        "reboot": {"type": "HARD"},
        "rebuild": {"imageRef": demo.image},
        "resize": {"flavorRef": demo.flavor},
        "createImage": {"name": "x"},
        "os-getConsoleOutput": {},
    }
    assert {
        name: demo.refused("POST", path, {name: body})[0] for name, body in refused.items()
    } == dict.fromkeys(refused, 409)
    assert demo.refused("POST", path, {"shelveOffload": None})[0] == 403
    attach = {"interfaceAttachment": {"net_id": demo.network}}
    assert demo.refused("POST", f"/servers/{id_}/os-interface", attach)[0] == 409


def test_where_it_comes_back_may_be_said(demo: Compute, admin: Compute) -> None:
    id_ = demo.boot()
    path, zone = f"/servers/{id_}/action", demo.show(id_)["OS-EXT-AZ:availability_zone"]
    host = admin.show(id_)["OS-EXT-SRV-ATTR:host"]
    shelve(demo, id_)
    wrong = {"availability_zone": "nowhere"}
    assert demo.refused("POST", path, {"unshelve": wrong}, version="2.77")[0] == 400
    assert demo.refused("POST", path, {"unshelve": {}}, version="2.77")[0] == 400
    assert demo.refused("POST", path, {"unshelve": {"host": host}}, version="2.90")[0] == 400
    assert demo.refused("POST", path, {"unshelve": {"host": host}}, version="2.91")[0] == 403
    assert admin.refused("POST", path, {"unshelve": {"host": "nobody"}}, version="2.91")[0] == 400
    admin.act(id_, "unshelve", {"availability_zone": zone, "host": host}, version="2.91")
    demo.settle(id_, "ACTIVE")
    back = admin.show(id_, version="2.96")
    assert (back["OS-EXT-SRV-ATTR:host"], back["pinned_availability_zone"]) == (host, zone)
    shelve(demo, id_)
    demo.act(id_, "unshelve", {"availability_zone": None}, version="2.91")
    demo.settle(id_, "ACTIVE")
    assert demo.show(id_, version="2.96")["pinned_availability_zone"] is None


def test_one_that_fits_nowhere_stays_on_the_shelf_and_says_why(demo: Compute, admin: Compute) -> None:
    id_ = demo.boot()
    shelve(demo, id_)
    hosts = [
        s["host"] for s in admin.call("GET", "/os-services")["services"] if s["binary"] == "nova-compute"
    ]
    try:
        for host in hosts:
            admin.call("PUT", "/os-services/disable", {"host": host, "binary": "nova-compute"})
        demo.act(id_, "unshelve")
        demo.settle(id_, "SHELVED_OFFLOADED")
        (asked,) = [action for action in demo.actions(id_) if action["action"] == "unshelve"]
        assert asked["message"].startswith("No valid host was found.")
    finally:
        for host in hosts:
            admin.call("PUT", "/os-services/enable", {"host": host, "binary": "nova-compute"})
    demo.act(id_, "unshelve")
    demo.settle(id_, "ACTIVE")
