"""Who has joined the cloud: names, users and records. No I/O."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from fabric.node.v1 import node_pb2 as pb
from fabric.runtime.errors import InvalidArgument
from fabric.runtime.store import Collection
from fabric.runtime.tls import CONTROLLER
from fabric.runtime.witness import PANEL

MEMBERS = Collection(
    service="node",
    name="members",
    message=pb.Member,
    singular="node",
    claims=lambda member: [("address", member.address)],
)
TOKENS = Collection(service="node", name="tokens", message=pb.JoinToken, singular="join token")
REFUSALS = Collection(service="keys", name="refused", message=pb.Refusal)
COLLECTIONS: list[Collection[Any]] = [MEMBERS, TOKENS, REFUSALS, PANEL]

ETCD = "etcd"
ROLES = ("agent", "gateway", CONTROLLER, ETCD)
CONTROL = (ETCD, CONTROLLER, "gateway", "agent")  # of a machine that the cloud can do with alone
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?")


def node_user(name: str) -> str:
    """The common name of a node's certificate, and its user in etcd."""
    return f"node.{name}"


def controller_user(name: str) -> str:
    """The same of the controller on that node."""
    return f"controller.{name}"


def alternatives(name: str, address: str, roles: Iterable[str]) -> list[str]:
    """What a node's certificate is good for as a server."""
    own = dict.fromkeys([address, name, "127.0.0.1", "localhost"])
    return [*own, *([CONTROLLER] if CONTROLLER in roles else [])]


def check(request: pb.JoinRequest) -> None:
    """Whether such a node can be. Raises InvalidArgument."""
    if not _NAME.fullmatch(request.node):
        raise InvalidArgument(f"{request.node!r} cannot be the name of a node.", field="node")
    try:
        ipaddress.ip_address(request.address)
    except ValueError as error:
        raise InvalidArgument(f"{request.address!r} is no IP address.", field="address") from error
    for role in request.roles:
        if role not in ROLES:
            raise InvalidArgument(f"{role!r} is not one of {', '.join(ROLES)}.", field="roles")
    if not request.roles:
        raise InvalidArgument("A node needs at least one role.", field="roles")
    if ETCD in request.roles and CONTROLLER not in request.roles:
        raise InvalidArgument("Who holds the records has a controller too.", field="roles")
