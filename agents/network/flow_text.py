"""What a logged packet says of itself: addresses, protocol, ports. No I/O."""

import ipaddress
import struct

_WITH_PORTS = {6: "tcp", 17: "udp", 132: "sctp"}
_NAMES = {1: "icmp", 58: "icmpv6", **_WITH_PORTS}
_EXTENSIONS = {0, 43, 60}  # of IPv6, that only lead to the next header


def facts(packet: bytes) -> dict[str, str | int]:
    """From the IP header on; empty: it is none."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= 20:
        length, protocol = (packet[0] & 15) * 4, packet[9]
        first = not struct.unpack_from(">H", packet, 6)[0] & 0x1FFF
        source, destination, rest = packet[12:16], packet[16:20], packet[length:] if first else b""
    elif version == 6 and len(packet) >= 40:
        protocol, rest = packet[6], packet[40:]
        while protocol in _EXTENSIONS and len(rest) >= 8:
            protocol, rest = rest[0], rest[(rest[1] + 1) * 8 :]
        source, destination = packet[8:24], packet[24:40]
    else:
        return {}
    found: dict[str, str | int] = {
        "source": str(ipaddress.ip_address(source)),
        "destination": str(ipaddress.ip_address(destination)),
        "protocol": _NAMES.get(protocol, str(protocol)),
    }
    if protocol in _WITH_PORTS and len(rest) >= 4:
        found["source_port"], found["destination_port"] = struct.unpack_from(">HH", rest)
    elif protocol in (1, 58) and len(rest) >= 2:
        found["icmp_type"], found["icmp_code"] = rest[0], rest[1]
    return found
