"""Whether a server answers: to this machine, or inside of its network, from the network's namespace on this node."""

import socket

from agents.network import name, netns

TIMEOUT_S = 2.0


def ssh_banner(address: str, network_id: str = "") -> str | None:
    """The first line of the server's ssh; None: not yet. network_id: asked from inside of it."""

    def ask() -> str:
        with socket.create_connection((address, 22), timeout=TIMEOUT_S) as connection:
            return connection.recv(256).partition(b"\r\n")[0].decode(errors="replace")  # RFC 4253, 4.2

    try:
        return (netns.call(name.namespace(network_id), ask) if network_id else ask()) or None
    except OSError:
        return None
