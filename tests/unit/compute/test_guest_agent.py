import pytest

from fabric.compute import guest_agent
from fabric.compute.v1 import server_pb2 as pb


def a_server(**properties: str) -> pb.Server:
    server = pb.Server()
    server.spec.image.properties.update(properties)
    return server


def test_an_image_that_says_nothing_may_have_an_agent() -> None:
    assert guest_agent.is_possible(a_server())
    assert guest_agent.is_possible(a_server(hw_qemu_guest_agent="yes"))
    assert not guest_agent.is_possible(a_server(hw_qemu_guest_agent="False"))


def test_only_of_an_agent_that_was_promised_it_is_said_that_it_is_away() -> None:
    assert guest_agent.away(a_server(hw_qemu_guest_agent="True")).reason == "GUEST_AGENT_AWAY"
    assert guest_agent.away(a_server()).reason == "NO_GUEST_AGENT"


@pytest.mark.parametrize(("properties", "user"), [
    ({}, "root"),
    ({"os_type": "windows"}, "Administrator"),
    ({"os_type": "windows", "os_admin_user": "boss"}, "boss"),
])  # fmt: skip
def test_the_image_says_who_the_administrator_is(properties: dict[str, str], user: str) -> None:
    assert guest_agent.administrator(a_server(**properties)) == user
