"""The socket that a gateway listens at, when the gateway is about to end."""

import ctypes
import socket
import struct
from typing import Protocol

_SO_ATTACH_FILTER = 26
_FLAGS, _SYN = 13, 0x02  # where a TCP header has its flags
_NO_SYN = (  # classic BPF, over what comes to the socket: code, jump if true, if false, operand
    (0x30, 0, 0, _FLAGS),  # load the byte there
    (0x45, 0, 1, _SYN),  # any of these bits: the next; else skip it
    (0x06, 0, 0, 0),  # return: keep nothing of the packet
    (0x06, 0, 0, 0xFFFFFFFF),  # return: keep all
)


class Socket(Protocol):
    """As event loops show theirs."""

    def setsockopt(self, level: int, option: int, value: bytes, /) -> None: ...


def begin_no_more(listening: Socket) -> None:
    """No connection begins here any more; those that have begun can still be accepted.

    To close the socket resets what waits in it, and a client cannot know what became of its request. One that
    begins now asks again after a second, as after a lost packet, and then finds nobody or the next who listens.
    """
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in _NO_SYN))
    described = struct.pack("@HP", len(_NO_SYN), ctypes.addressof(program))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)
