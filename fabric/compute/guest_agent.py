"""The agent that a guest may have inside, which sets its administrator's password. No I/O."""

from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import FailedPrecondition

_PROPERTY = "hw_qemu_guest_agent"
_NO, _YES = ("no", "n", "false", "f", "off", "0"), ("yes", "y", "true", "t", "on", "1")


def is_possible(server: pb.Server) -> bool:
    """Unless its image says that there is none."""
    return _said(server) not in _NO


def administrator(server: pb.Server) -> str:
    """Whose password is set."""
    properties = server.spec.image.properties
    usual = "Administrator" if properties.get("os_type") == "windows" else "root"
    return properties.get("os_admin_user") or usual


def away(server: pb.Server) -> FailedPrecondition:
    """What is told of an agent that does not answer: the image promises one, or says nothing of it."""
    if _said(server) in _YES:
        return FailedPrecondition("Unable to set password on instance", reason="GUEST_AGENT_AWAY")
    return none()


def none() -> FailedPrecondition:
    """There is no agent."""
    return FailedPrecondition("QEMU guest agent is not enabled", reason="NO_GUEST_AGENT")


def _said(server: pb.Server) -> str:
    return server.spec.image.properties.get(_PROPERTY, "").lower()
