"""Security groups and their rules."""

from collections.abc import Sequence
from typing import Any

from fabric.network import default_group, log
from fabric.network.address_group import name_it
from fabric.network.collection import PORTS, RULES, SECURITY_GROUPS, marked
from fabric.network.default_group import DefaultGroups
from fabric.network.grant import grant
from fabric.network.record import Asked, NetworkResource, sees_all
from fabric.network.rule import check
from fabric.network.sharing import SharedResource, withdraw_all
from fabric.network.v1 import security_group_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query


class GroupRemoval:
    """A group takes its rules with it, and the rules of others that name it."""

    collection = SECURITY_GROUPS

    def check_unused(self, store: Store, record: pb.SecurityGroup) -> None:
        if any(not marked(port) for port in store.table(PORTS).by("group", record.meta.id)):
            raise FailedPrecondition(
                f"Security Group {record.meta.id} in use.",
                reason="SECURITY_GROUP_IN_USE",
                security_group=record.meta.id,
            )

    def release(self, store: Store, record: pb.SecurityGroup, txn: Transaction) -> None:
        rules = store.table(RULES)
        gone = {
            r.meta.id: r for r in (*rules.by("group", record.meta.id), *rules.by("remote", record.meta.id))
        }
        touched = set()
        for rule in gone.values():
            txn.remove(RULES, rule)
            touched.add(rule.spec.security_group_id)
        for id_ in touched - {record.meta.id}:
            other = store.find(SECURITY_GROUPS, id_)
            if other is not None:
                touch(other, txn)
        log.end(store, txn, record.meta.id)
        withdraw_all(store, txn, record)


class SecurityGroups(SharedResource[pb.SecurityGroup]):
    """The rules of groups."""

    collection = SECURITY_GROUPS
    object_type = "security_group"
    policies = {
        "create": "create_security_group",
        "get": "get_security_group",
        "list": "get_availability_zone",
        "update": "update_security_group",
        "delete": "delete_security_group",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def __init__(self, store: Store, policy: Policy, groups: DefaultGroups) -> None:
        super().__init__(store, policy)
        self._groups = groups

    def present(self, caller: Caller, message: pb.SecurityGroup) -> pb.SecurityGroup:
        shown = super().present(caller, message)
        for rule in self.store.table(RULES).by("group", message.meta.id):
            shown.rules.append(rule)
            shown.rules[-1].belongs_to_default_group = message.spec.is_default
        return shown

    async def make_all(
        self, asked: Sequence[Asked[pb.SecurityGroup]], caller: Caller
    ) -> list[pb.SecurityGroup]:
        for project_id in {message.meta.project_id or caller.project_id for message, _ in asked}:
            await self._groups.ensure(project_id)
        return await super().make_all(asked, caller)

    def admit(
        self,
        caller: Caller,
        new: pb.SecurityGroup,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.SecurityGroup],
    ) -> None:
        if new.meta.name.lower() == default_group.NAME:
            raise AlreadyExists(
                "Default security group already exists.",
                reason="SECURITY_GROUP_DEFAULT_ALREADY_EXISTS",
                field="name",
            )
        new.spec.is_default, new.spec.shared = False, False
        if "spec.stateful" not in given:
            new.spec.stateful = True
        del new.rules[:]
        default_group.add_rules(self.store, txn, new)

    def change(self, caller: Caller, new: pb.SecurityGroup, old: pb.SecurityGroup, txn: Transaction) -> None:
        new.spec.is_default, new.spec.shared = old.spec.is_default, old.spec.shared
        if old.spec.is_default and new.meta.name != old.meta.name:
            raise FailedPrecondition(
                "Updating default security group not allowed.",
                reason="SECURITY_GROUP_CANNOT_UPDATE_DEFAULT",
                field="name",
            )
        if not old.spec.is_default and new.meta.name.lower() == default_group.NAME:
            raise AlreadyExists(
                "Default security group already exists.",
                reason="SECURITY_GROUP_DEFAULT_ALREADY_EXISTS",
                field="name",
            )
        if new.spec.stateful != old.spec.stateful and any(
            not marked(port) for port in self.store.table(PORTS).by("group", old.meta.id)
        ):
            raise FailedPrecondition(
                f"Security Group {old.meta.id} in use.", reason="SECURITY_GROUP_IN_USE", field="stateful"
            )

    def check_removal(self, caller: Caller, old: pb.SecurityGroup) -> None:
        if old.spec.is_default and not caller.is_admin:
            raise FailedPrecondition(
                "Insufficient rights for removing default security group.",
                reason="SECURITY_GROUP_CANNOT_REMOVE_DEFAULT",
            )

    async def delete(self, id_: str, caller: Caller) -> pb.SecurityGroup:
        return await self.remove(id_, caller, GroupRemoval())

    async def list(self, asked: Query, caller: Caller) -> tuple[list[pb.SecurityGroup], str]:
        """Who looks for a project's groups finds at least its default one."""
        named = [part.values[0] for part in asked.filters if part.path == "meta.project_id" and part.values]
        await self._groups.ensure(named[0] if named and sees_all(caller) else caller.project_id)
        return await super().list(asked, caller)


class SecurityGroupRules(NetworkResource[pb.SecurityGroupRule]):
    """The rules of rules."""

    collection = RULES
    policies = {
        "create": "create_security_group_rule",
        "get": "get_security_group_rule",
        "list": "get_availability_zone",
        "update": "create_security_group_rule",
        "delete": "delete_security_group_rule",
    }
    narrow = {
        "meta.id": "id",
        "spec.security_group_id": "group",
        "spec.remote_group_id": "remote",
        "spec.remote_address_group_id": "remote",
        "meta.project_id": "project",
    }

    def __init__(self, store: Store, policy: Policy, groups: DefaultGroups) -> None:
        super().__init__(store, policy)
        self._groups = groups

    def target(self, message: pb.SecurityGroupRule) -> dict[str, Any]:
        group = self.store.find(SECURITY_GROUPS, message.spec.security_group_id)
        owner = group.meta.project_id if group is not None else ""
        return super().target(message) | {
            "security_group:project_id": owner,
            "security_group:tenant_id": owner,
        }

    def reachable(self, caller: Caller) -> list[pb.SecurityGroupRule]:
        table = self.store.table(RULES)
        found = {r.meta.id: r for r in table.by("project", caller.project_id)}
        for group in self.store.table(SECURITY_GROUPS).by("project", caller.project_id):
            found.update((r.meta.id, r) for r in table.by("group", group.meta.id))
        return list(found.values())

    def candidates(self, caller: Caller, asked: Query) -> list[pb.SecurityGroupRule]:
        found = super().candidates(caller, asked)
        if any(part.path == "belongs_to_default_group" for part in asked.filters):
            return [self.present(caller, rule) for rule in found]
        return found

    def present(self, caller: Caller, message: pb.SecurityGroupRule) -> pb.SecurityGroupRule:
        group = self.store.find(SECURITY_GROUPS, message.spec.security_group_id)
        if group is None or not group.spec.is_default:
            return message
        shown = copy_of(message)
        shown.belongs_to_default_group = True
        return shown

    async def make_all(
        self, asked: Sequence[Asked[pb.SecurityGroupRule]], caller: Caller
    ) -> list[pb.SecurityGroupRule]:
        groups = {message.spec.security_group_id for message, _ in asked}
        if len(groups) > 1:
            raise InvalidArgument(
                "Only allowed to update rules for one security profile at a time",
                reason="SECURITY_GROUP_NOT_SINGLE_GROUP_RULES",
                field="security_group_id",
            )
        try:
            return await super().make_all(asked, caller)
        except AlreadyExists as error:
            if error.facts.get("index") != "rule":
                raise
            owner = self.store.owner(RULES, "rule", error.facts.get("value", ""))
            raise _exists(owner or "") from error

    def own(self, caller: Caller, new: pb.SecurityGroupRule) -> None:
        group = self._group(caller, new.spec.security_group_id)
        if not new.meta.project_id:
            new.meta.project_id = caller.project_id or group.meta.project_id

    def admit(
        self,
        caller: Caller,
        new: pb.SecurityGroupRule,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.SecurityGroupRule],
    ) -> None:
        group = self._group(caller, new.spec.security_group_id)
        check(new.spec)
        if new.spec.remote_group_id:
            other = self._group(caller, new.spec.remote_group_id)
            if other.meta.id != group.meta.id:
                txn.expect(SECURITY_GROUPS, other)
        if new.spec.remote_address_group_id:
            name_it(self.store, caller, txn, new.spec.remote_address_group_id, new.meta.project_id)
        new.meta.name = ""
        touch(group, txn)

    def _group(self, caller: Caller, id_: str) -> pb.SecurityGroup:
        group = self.store.find(SECURITY_GROUPS, id_)
        if group is not None and not marked(group):
            target = {
                "project_id": group.meta.project_id,
                "shared": grant(self.store, id_, caller.project_id) is not None,
            }
            if group.meta.project_id == caller.project_id or self.policy.allows(
                caller, "get_security_group", target
            ):
                return group
        raise NotFound(
            f"Security group {id_} does not exist",
            reason="SECURITY_GROUP_NOT_FOUND",
            field="security_group_id",
        )

    def check_delete(self, caller: Caller, old: pb.SecurityGroupRule, txn: Transaction) -> None:
        group = self.store.find(SECURITY_GROUPS, old.spec.security_group_id)
        if group is not None:
            touch(group, txn)

    async def list(self, asked: Query, caller: Caller) -> tuple[list[pb.SecurityGroupRule], str]:
        await self._groups.ensure(caller.project_id)
        return await super().list(asked, caller)


def touch(group: pb.SecurityGroup, txn: Transaction) -> None:
    """Count the group's generation on: its rules change."""
    newer = copy_of(group)
    newer.meta.generation += 1
    txn.update(SECURITY_GROUPS, newer)


def _exists(rule_id: str) -> AlreadyExists:
    return AlreadyExists(
        f"Security group rule already exists. Rule id is {rule_id}.",
        reason="SECURITY_GROUP_RULE_EXISTS",
        id=rule_id,
    )
