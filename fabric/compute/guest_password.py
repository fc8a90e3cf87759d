"""The password that a guest makes up, encrypts and leaves with its metadata service. No I/O."""

from fabric.compute.v1 import server_pb2 as pb

MOST_BYTES = 1020


def left(server: pb.Server, status: pb.ServerStatus) -> str:
    """What it left, here by its node's report or where it was before; empty: nothing, or it was thrown away."""
    if status.guest_password and status.password_clears == server.spec.password_clears:
        return status.guest_password
    return server.guest_password


def clear(server: pb.Server) -> None:
    """Throw it away."""
    server.spec.password_clears += 1
    server.guest_password = ""
