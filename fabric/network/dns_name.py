"""The names that a network's DNS knows its ports by. No I/O."""

import re
from collections.abc import Iterable

from fabric.network import address
from fabric.network.v1 import port_pb2 as pb

_LABEL = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)")
_MOST = 255


def check_name(name: str) -> str:
    """A port's dns_name in its usual form. Raises InvalidArgument for what is no DNS label."""
    bare = name.rstrip(".")
    if bare and not _LABEL.fullmatch(bare):
        raise address.invalid(
            f"'{name}' not a valid DNS label: letters, digits and inner dashes, at most 63", "dns_name"
        )
    return bare.lower()


def is_domain(text: str) -> bool:
    """Whether it is a domain of DNS, with or without the last dot; what is none must not reach a configuration."""
    bare = text.removesuffix(".")
    return len(bare) <= _MOST and all(_LABEL.fullmatch(label) for label in bare.split("."))


def check_domain(text: str) -> None:
    """Raise InvalidArgument for a dns_domain that is neither empty nor a domain."""
    if text and not is_domain(text):
        raise address.invalid(
            f"'{text}' not a valid PQDN or FQDN: labels of letters, digits and inner dashes, at most {_MOST} "
            "characters in all",
            "dns_domain",
        )


def assignments(port: pb.Port, domain: str) -> Iterable[pb.DnsAssignment]:
    """One for each address; a port without a name is called by its address."""
    for fixed in port.spec.fixed_ips:
        ip = fixed.ip_address
        host = port.spec.dns_name or "host-" + ip.replace(".", "-").replace(":", "-").strip("-")
        yield pb.DnsAssignment(hostname=host, ip_address=ip, fqdn=f"{host}.{domain}.")
