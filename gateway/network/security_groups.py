"""Networking API v2.0, sections "Security groups" and "Security group rules"."""

import ipaddress
from typing import Any

from fabric.network.v1 import security_group_pb2 as pb
from fabric.network.v1.security_group_pb2_grpc import SecurityGroupServiceStub
from gateway.core.codec import JsonValue, Text
from gateway.core.http import Request
from gateway.core.table import Field, Table
from gateway.network.codec import PortNumber, Protocol
from gateway.network.resource import BOOL, BOTH, Resource, first_fields, shown, standard_fields
from gateway.network.tags import Tags

ID = Text(36, nullable=True)


def normalized_cidr(rule: pb.SecurityGroupRule, request: Request) -> JsonValue:
    """The prefix with its host bits cleared."""
    given = rule.spec.remote_ip_prefix
    return str(ipaddress.ip_network(given, strict=False)) if given else None


def rules_of(group: pb.SecurityGroup, request: Request) -> JsonValue:
    """The group's rules, each as its own resource shows it."""
    return RULES.render_list(group.rules, request)


def matches() -> list[Field]:
    """What a rule lets through."""
    return [
        shown("direction", "spec.direction", write="create", required=True),
        shown("ethertype", "spec.ethertype", write="create", codec=Text(40, nullable=True)),
        shown("protocol", "spec.protocol", write="create", codec=Protocol()),
        shown("port_range_min", "spec.port_range_min", write="create", codec=PortNumber()),
        shown("port_range_max", "spec.port_range_max", write="create", codec=PortNumber()),
        shown("remote_group_id", "spec.remote_group_id", write="create", codec=ID),
        shown("remote_ip_prefix", "spec.remote_ip_prefix", write="create", codec=Text(nullable=True)),
        shown("remote_address_group_id", "spec.remote_address_group_id", write="create", codec=ID),
    ]


RULES = Table(
    singular="security_group_rule",
    plural="security_group_rules",
    message=pb.SecurityGroupRule,
    service=SecurityGroupServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
        shown("security_group_id", "spec.security_group_id", write="create", required=True),
        *matches(),
        Field("normalized_cidr", compute=normalized_cidr),
        shown("belongs_to_default_sg", "belongs_to_default_group", codec=BOOL),
        *standard_fields(tags=False),
    ],
)

GROUPS = Table(
    singular="security_group",
    plural="security_groups",
    message=pb.SecurityGroup,
    service=SecurityGroupServiceStub,
    fields=[
        *first_fields(),
        shown("stateful", "spec.stateful", write=BOTH, codec=BOOL),
        shown("shared", "spec.shared", codec=BOOL),
        Field("security_group_rules", compute=rules_of),
        *standard_fields(),
    ],
)


class Rules(Resource):
    """Rules are made and removed, never changed."""

    def parse(self, request: Request, body: Any) -> Any:
        return super().parse(request, {name: value for name, value in body.items() if value is not None})


_groups = Resource(GROUPS)
routes = [*_groups.routes(), *Tags(_groups).routes(), *Rules(RULES).routes("list show create delete")]
