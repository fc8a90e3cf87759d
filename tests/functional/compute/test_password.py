"""Passwords for guests: those of these nodes have an agent that knows only root."""

from tests.functional.compute.api import Compute
from tests.processes import wait_for


def image_with(demo: Compute, server_id: str, **properties: str) -> str:
    body = {"name": "with", "metadata": properties}
    made = demo.act(server_id, "createImage", body, version="2.45")["image_id"]
    wait_for(lambda: demo.image_of(made)["status"] == "active", 30, "the image")
    return str(made)


def change(demo: Compute, server_id: str) -> tuple[int, str]:
    return demo.refused("POST", f"/servers/{server_id}/action", {"changePassword": {"adminPass": "secret"}})


def test_a_running_guest_is_given_a_password_that_is_kept_nowhere(demo: Compute) -> None:
    id_ = demo.boot()
    assert demo.status("POST", f"/servers/{id_}/action", {"changePassword": {"adminPass": "secret"}}) == 202
    assert demo.show(id_)["status"] == "ACTIVE"
    wait_for(lambda: demo.actions(id_)[0]["events"][0]["result"] == "Success", 30, "the action's end")
    assert demo.actions(id_)[0]["action"] == "changePassword"
    demo.act(id_, "os-stop")
    demo.settle(id_, "SHUTOFF")
    status, message = change(demo, id_)
    assert (status, "'changePassword'" in message) == (409, True)


def test_without_an_agent_or_its_consent_it_is_a_conflict(demo: Compute) -> None:
    first = demo.boot()
    without = image_with(demo, first, hw_qemu_guest_agent="no")
    other = image_with(demo, first, os_admin_user="boss")
    assert change(demo, demo.boot(imageRef=without)) == (409, "QEMU guest agent is not enabled")
    refused = demo.boot(imageRef=other)
    expected = f"Failed to set admin password on {refused} because there is no such user"
    assert change(demo, refused) == (409, expected)
