"""The two programs that take VLAN tags off and put them on, where the kernel has no 802.1q devices.

They are a dozen instructions each (linux/bpf.h), so they are put together here and need no compiler. A program runs
for each frame that enters a device (tc, direct action) and either hands it to another device or lets it go on.
"""

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping

from fabric.runtime.errors import Unavailable

_CALLS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361, "s390x": 351}
_PROG_LOAD, _SCHED_CLS = 5, 3
_MOVE, _MOVE_NUMBER, _LOAD_WORD, _AND = 0xBF, 0xB7, 0x61, 0x57
_IF_EQUAL, _IF_DIFFERENT, _CALL, _EXIT = 0x15, 0x55, 0x85, 0x95
_VLAN_PUSH, _VLAN_POP, _REDIRECT = 18, 19, 23
_VLAN_PRESENT, _VLAN_TCI = 20, 24  # in struct __sk_buff
_GO_ON = -1  # TC_ACT_UNSPEC: the next filter decides
_8021Q = 0x8100
_LOG_BYTES = 1 << 16
_libc = ctypes.CDLL(None, use_errno=True)


def untagging(devices: Mapping[int, int]) -> bytes:
    """Send each frame with one of these tags, without it, to the device (interface index) of the tag."""
    program = _step(_MOVE, 6, 1) + _step(_LOAD_WORD, 0, 6, _VLAN_PRESENT)
    rest = b""
    for tag, device in sorted(devices.items()):
        hand_over = _step(_MOVE, 1, 6) + _step(_CALL, number=_VLAN_POP) + _redirected(device)
        rest += _step(_IF_DIFFERENT, 0, offset=len(hand_over) // 8, number=tag) + hand_over
    look = _step(_LOAD_WORD, 0, 6, _VLAN_TCI) + _step(_AND, 0, number=0xFFF) + rest
    program += _step(_IF_EQUAL, 0, offset=len(look) // 8, number=0) + look
    return program + _step(_MOVE_NUMBER, 0, number=_GO_ON) + _step(_EXIT)


def tagging(tag: int, device: int) -> bytes:
    """Send each frame, with the tag, to the device."""
    protocol = struct.unpack("=H", struct.pack("!H", _8021Q))[0]
    program = _step(_MOVE_NUMBER, 2, number=protocol) + _step(_MOVE_NUMBER, 3, number=tag)
    return program + _step(_CALL, number=_VLAN_PUSH) + _redirected(device)


def load(program: bytes) -> int:
    """A file descriptor of the program. Raises Unavailable: the kernel does not take it."""
    call = _CALLS.get(platform.machine())
    if call is None:
        raise Unavailable(f"no eBPF on {platform.machine()}", reason="EBPF_REFUSED")
    code = ctypes.create_string_buffer(program, len(program))
    license_, log = ctypes.create_string_buffer(b"GPL"), ctypes.create_string_buffer(_LOG_BYTES)
    addresses = (ctypes.addressof(code), ctypes.addressof(license_))
    head = struct.pack(
        "IIQQIIQ", _SCHED_CLS, len(program) // 8, *addresses, 1, _LOG_BYTES, ctypes.addressof(log)
    )
    attributes = ctypes.create_string_buffer(head.ljust(128, b"\0"), 128)
    handle: int = _libc.syscall(call, _PROG_LOAD, attributes, 128)
    if handle < 0:
        code_ = ctypes.get_errno()
        name = errno.errorcode.get(code_, str(code_))
        raise Unavailable(
            f"the kernel refuses an eBPF program: {os.strerror(code_)}", reason="EBPF_REFUSED", error=name
        )
    return handle


def _redirected(device: int) -> bytes:
    """Hand the frame to the device, as something that leaves through it."""
    arguments = _step(_MOVE_NUMBER, 1, number=device) + _step(_MOVE_NUMBER, 2, number=0)
    return arguments + _step(_CALL, number=_REDIRECT) + _step(_EXIT)


def _step(code: int, target: int = 0, source: int = 0, offset: int = 0, number: int = 0) -> bytes:
    registers = source << 4 | target  # the two halves of a byte, on little-endian machines
    return struct.pack("=BBhi", code, registers, offset, number)
