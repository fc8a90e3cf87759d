"""Networking API v2.0, section "Default security group rules"."""

from fabric.network.v1 import default_security_group_rule_pb2 as pb
from fabric.network.v1.default_security_group_rule_pb2_grpc import DefaultSecurityGroupRuleServiceStub
from gateway.core.codec import Text
from gateway.core.table import Table
from gateway.network.resource import BOOL, shown
from gateway.network.security_groups import Rules, matches

RULES = Table(
    singular="default_security_group_rule",
    plural="default_security_group_rules",
    message=pb.DefaultSecurityGroupRule,
    service=DefaultSecurityGroupRuleServiceStub,
    fields=[
        shown("id", "meta.id"),
        *matches(),
        shown("used_in_default_sg", "used_in_default", write="create", codec=BOOL),
        shown("used_in_non_default_sg", "used_in_custom", write="create", codec=BOOL),
        shown("description", "meta.description", write="create", codec=Text(nullable=False)),
    ],
)

routes = Rules(RULES).routes("list show create delete")
