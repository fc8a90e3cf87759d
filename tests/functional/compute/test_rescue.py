"""Servers that boot from a rescue's disk and back, on a cloud of fake nodes."""

import pytest

from tests.functional.compute.api import Compute


@pytest.mark.parametrize("before", [[], ["os-stop"]])
def test_a_rescued_server_runs_until_it_is_unrescued(demo: Compute, before: list[str]) -> None:
    id_ = demo.boot()
    for action in before:
        demo.act(id_, action)
        demo.settle(id_, "SHUTOFF")
    addresses = demo.addresses(id_)
    answer = demo.act(id_, "rescue", {"adminPass": "secret"})
    assert answer == {"adminPass": "secret"}
    demo.settle(id_, "RESCUE")
    seen = demo.show(id_)
    assert (seen["OS-EXT-STS:vm_state"], seen["OS-EXT-STS:power_state"]) == ("rescued", 1)
    assert (demo.addresses(id_), seen["image"]["id"]) == (addresses, demo.image)
    assert [s["id"] for s in demo.call("GET", "/servers?status=RESCUE")["servers"]] == [id_]
    demo.act(id_, "unrescue")
    demo.settle(id_, "ACTIVE")
    done = {action["action"]: action["events"][0]["result"] for action in demo.actions(id_)}
    assert (done["rescue"], done["unrescue"]) == ("Success", "Success")


def test_it_is_rescued_again_from_another_image(demo: Compute) -> None:
    id_ = demo.boot()
    for body in (None, {"rescue_image_ref": demo.image}):
        assert len(demo.act(id_, "rescue", body)["adminPass"]) >= 12
        demo.settle(id_, "RESCUE")
        demo.act(id_, "unrescue")
        demo.settle(id_, "ACTIVE")


def test_what_a_rescued_server_cannot_do_is_a_conflict(demo: Compute) -> None:
    id_ = demo.boot()
    path = f"/servers/{id_}/action"
    assert demo.refused("POST", path, {"unrescue": None})[0] == 409
    assert demo.refused("POST", path, {"rescue": {"rescue_image_ref": id_}})[0] == 400
    assert demo.refused("POST", path, {"rescue": {"rescue_image_ref": "x"}})[0] == 400
    demo.act(id_, "pause")
    demo.settle(id_, "PAUSED")
    assert demo.refused("POST", path, {"rescue": None})[0] == 409
    demo.act(id_, "unpause")
    demo.settle(id_, "ACTIVE")
    demo.act(id_, "rescue")
    demo.settle(id_, "RESCUE")
    refused = {
        "rescue": None,
        "pause": None,
        "reboot": {"type": "HARD"},
        "rebuild": {"imageRef": demo.image},
        "createImage": {"name": "x"},
        "shelve": None,
    }
    answers = {name: demo.refused("POST", path, {name: body})[0] for name, body in refused.items()}
    assert answers == dict.fromkeys(refused, 409)
