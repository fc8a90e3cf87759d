"""Heads of files that no image may be made of."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabric.image.format import NAMES, problem_of_format, problem_of_head


def qcow2(*, version: int = 3, backing: int = 0, incompatible: int = 0) -> bytes:
    head = b"QFI\xfb" + struct.pack(">IQ", version, backing)
    return (head + bytes(72 - len(head)) + struct.pack(">Q", incompatible)).ljust(4096, b"\0")


def vmdk(descriptor: bytes) -> bytes:
    head = b"KDMV" + bytes(24) + struct.pack("<QQ", 1, 1)
    return head.ljust(512, b"\0") + descriptor.ljust(512, b"\0")


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (qcow2(), None),
        (qcow2(backing=1), "BACKING_FILE"),
        (qcow2(version=2, backing=200), "BACKING_FILE"),
        (qcow2(incompatible=4), "DATA_FILE"),
        (qcow2(incompatible=1), None),
        (qcow2(version=2, incompatible=4), None),
        (vmdk(b'createType="monolithicSparse"'), None),
        (vmdk(b'createType="streamOptimized"'), None),
        (vmdk(b'createType="monolithicFlat"'), "REFERS_TO_FILES"),
        (b'# Disk DescriptorFile\nRW 1 FLAT "/etc/shadow" 0', "REFERS_TO_FILES"),
        (b"QED\0" + bytes(12) + struct.pack("<Q", 1) + bytes(100), "REFERS_TO_FILES"),
        (b"", None),
        (b"noise", None),
    ],
)
def test_what_refers_to_other_files_is_refused(head: bytes, reason: str | None) -> None:
    problem = problem_of_head(head)
    assert (problem.reason if problem else None) == reason


@given(st.sampled_from([b"", b"QFI\xfb", b"KDMV", b"COWD", b"QED\0"]), st.binary(max_size=200))
def test_no_head_breaks_the_look(magic: bytes, rest: bytes) -> None:
    problem_of_head(magic + rest)


@pytest.mark.parametrize(
    ("found", "said", "fits"),
    [
        ("raw", "qcow2", True),
        ("raw", "raw", True),
        ("qcow2", "qcow2", True),
        ("qcow2", "raw", False),
        ("vpc", "vhd", True),
        ("vmdk", "iso", False),
        ("luks", "raw", True),
    ],
)
def test_content_and_what_is_said_of_it(found: str, said: str, fits: bool) -> None:
    assert (problem_of_format(found, said) is None) == fits


def test_every_known_format_has_a_name_of_its_own() -> None:
    assert all(names for names in NAMES.values())
