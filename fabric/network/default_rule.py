"""Default security group rules: the templates of what new groups begin with."""

import uuid
from collections.abc import Sequence

from fabric.network import address
from fabric.network.address_group import name_it
from fabric.network.collection import TEMPLATES, rule_digest
from fabric.network.record import Asked, NetworkResource
from fabric.network.rule import check
from fabric.network.v1 import default_security_group_rule_pb2 as pb
from fabric.network.v1 import security_group_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query

PARENT = "PARENT"  # the group that a rule is made for
_NAMESPACE = uuid.UUID("b5d0a2d6-6a5e-4b1e-9d55-3a0b8f2f0f4e")


def _built_in(direction: str, ethertype: str) -> pb.DefaultSecurityGroupRule:
    template = pb.DefaultSecurityGroupRule(used_in_default=True, used_in_custom=direction == "egress")
    template.meta.id = str(uuid.uuid5(_NAMESPACE, f"{direction} {ethertype}"))
    template.meta.description = f"Legacy default SG rule for {direction} traffic"
    template.spec.direction, template.spec.ethertype = direction, ethertype
    template.spec.remote_group_id = PARENT if direction == "ingress" else ""
    return template


# Every group lets everything out, a project's default group its own members in. They have no record until they
# are deleted, which is what their record says then.
BUILT_IN = {
    template.meta.id: template
    for template in (_built_in(d, e) for d in ("egress", "ingress") for e in ("IPv4", "IPv6"))
}


def templates(store: Store) -> list[pb.DefaultSecurityGroupRule]:
    """All that are used."""
    kept = {template.meta.id: template for template in store.table(TEMPLATES)}
    return [template for template in (BUILT_IN | kept).values() if not template.withdrawn]


def first_rules(
    store: Store, group: security_group_pb2.SecurityGroup
) -> list[security_group_pb2.SecurityGroupRule]:
    """What the templates make of a new group."""
    made = []
    for template in templates(store):
        if template.used_in_default if group.spec.is_default else template.used_in_custom:
            rule = security_group_pb2.SecurityGroupRule()
            rule.meta.id, rule.meta.project_id = str(uuid.uuid4()), group.meta.project_id
            rule.spec.CopyFrom(template.spec)
            rule.spec.security_group_id = group.meta.id
            if rule.spec.remote_group_id == PARENT:
                rule.spec.remote_group_id = group.meta.id
            made.append(rule)
    return made


class DefaultRules(NetworkResource[pb.DefaultSecurityGroupRule]):
    """The rules of templates."""

    collection = TEMPLATES
    policies = {
        "create": "create_default_security_group_rule",
        "get": "get_default_security_group_rule",
        "list": "get_availability_zone",
        "delete": "delete_default_security_group_rule",
    }

    def own(self, caller: Caller, new: pb.DefaultSecurityGroupRule) -> None:
        """They are the cloud's."""
        new.meta.project_id = ""

    def candidates(self, caller: Caller, asked: Query) -> list[pb.DefaultSecurityGroupRule]:
        return templates(self.store)

    def find(self, id_: str, caller: Caller) -> pb.DefaultSecurityGroupRule:
        found = next((template for template in templates(self.store) if template.meta.id == id_), None)
        if found is None or not self.visible(caller, found):
            raise self.missing(id_)
        return found

    async def make_all(
        self, asked: Sequence[Asked[pb.DefaultSecurityGroupRule]], caller: Caller
    ) -> list[pb.DefaultSecurityGroupRule]:
        try:
            return await super().make_all(asked, caller)
        except AlreadyExists as error:
            if error.facts.get("index") != "template":
                raise
            raise _exists(self.store.owner(TEMPLATES, "template", error.facts["value"]) or "") from error

    def admit(
        self,
        caller: Caller,
        new: pb.DefaultSecurityGroupRule,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.DefaultSecurityGroupRule],
    ) -> None:
        if "used_in_custom" not in given:
            new.used_in_custom = True
        new.withdrawn, new.meta.name = False, ""
        new.spec.security_group_id = ""
        if new.spec.remote_group_id not in ("", PARENT):
            raise address.invalid(f"a default rule can name {PARENT} only", "remote_group_id")
        check(new.spec)
        if new.spec.remote_address_group_id:
            name_it(self.store, caller, txn, new.spec.remote_address_group_id, "")
        for other in templates(self.store):
            both = (new.used_in_default and other.used_in_default) or (
                new.used_in_custom and other.used_in_custom
            )
            if both and rule_digest(new.spec) == rule_digest(other.spec):
                raise _exists(other.meta.id)

    async def delete(self, id_: str, caller: Caller) -> pb.DefaultSecurityGroupRule:
        if id_ not in BUILT_IN:
            return await super().delete(id_, caller)
        gone = copy_of(self.find(id_, caller))
        self.enforce("delete", caller, gone)
        gone.withdrawn = True
        try:
            async with self.store.transaction() as txn:
                txn.create(TEMPLATES, gone)
        except AlreadyExists as error:  # by somebody else at the same time
            raise self.missing(id_) from error
        return gone


def _exists(id_: str) -> AlreadyExists:
    return AlreadyExists(
        f"Default Security group rule already exists. Rule id is {id_}.",
        reason="DEFAULT_SECURITY_GROUP_RULE_EXISTS",
        id=id_,
    )
