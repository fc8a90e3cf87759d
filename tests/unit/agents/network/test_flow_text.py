"""What a logged packet says of itself."""

import ipaddress
import struct

import pytest

from agents.network.flow_text import facts

UDP = struct.pack(">HHHH", 1234, 7, 8, 0)


def four(protocol: int, rest: bytes, *, offset: int = 0) -> bytes:
    ends = ipaddress.ip_address("10.0.0.5").packed + ipaddress.ip_address("10.0.0.6").packed
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(rest), 0, offset, 64, protocol, 0) + ends + rest


def six(protocol: int, rest: bytes) -> bytes:
    ends = ipaddress.ip_address("fd00::5").packed + ipaddress.ip_address("fd00::6").packed
    return struct.pack(">IHBB", 0x60000000, len(rest), protocol, 64) + ends + rest


def test_addresses_protocol_and_ports() -> None:
    ends = {"source": "10.0.0.5", "destination": "10.0.0.6"}
    ports = {"source_port": 1234, "destination_port": 7}
    assert facts(four(17, UDP)) == {**ends, "protocol": "udp", **ports}
    assert facts(four(17, UDP, offset=5)) == {**ends, "protocol": "udp"}  # a later fragment
    assert facts(four(1, b"\x08\x00")) == {**ends, "protocol": "icmp", "icmp_type": 8, "icmp_code": 0}
    assert facts(four(47, b"")) == {**ends, "protocol": "47"}
    ends = {"source": "fd00::5", "destination": "fd00::6"}
    hop_by_hop = bytes([17, 0, 0, 0, 0, 0, 0, 0])
    assert facts(six(0, hop_by_hop + UDP)) == {**ends, "protocol": "udp", **ports}


@pytest.mark.parametrize("packet", [b"", b"\x45", b"\x60" + bytes(38), b"\x00" * 64])
def test_what_is_no_packet_says_nothing(packet: bytes) -> None:
    assert facts(packet) == {}


@pytest.mark.parametrize("length", range(20, 29))
def test_a_packet_that_was_cut_says_what_is_there(length: int) -> None:
    assert facts(four(17, UDP)[:length])["protocol"] == "udp"
