"""A server that boots from another disk, so that its own can be repaired. No I/O, no clock."""

from fabric.compute import migration
from fabric.compute.v1 import server_pb2 as pb


def concerns(server: pb.Server) -> bool:
    """Whether it is rescued, or on its way there or back."""
    return bool(server.rescue.generation or server.status.rescue_generation)


def begin(server: pb.Server, image: pb.ImageRef) -> None:
    """Boot it from a disk of the image."""
    server.rescue.image.CopyFrom(image)
    server.rescue.generation = server.meta.generation + 1
    _run(server)


def end(server: pb.Server) -> None:
    """Boot it from its own disk again."""
    server.ClearField("rescue")
    _run(server)


def _run(server: pb.Server) -> None:
    server.spec.marked_error = False
    server.spec.power = pb.ServerSpec.POWER_RUNNING
    migration.ask_for_power(server)


def view(server: pb.Server) -> tuple[str, str]:
    """Status and vm_state: those of before while it is on its way."""
    return ("RESCUE", "rescued") if server.status.rescue_generation else ("ACTIVE", "active")


def task_state(server: pb.Server) -> str:
    """The Compute API's word for what goes on."""
    if server.rescue.generation == server.status.rescue_generation:
        return ""
    return "rescuing" if server.rescue.generation else "unrescuing"
