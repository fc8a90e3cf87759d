"""Each project's default security group: made when it is first looked for, once."""

import uuid

from fabric.network.collection import ADDRESS_GROUPS, RULES, SECURITY_GROUPS, marked
from fabric.network.default_rule import first_rules
from fabric.network.v1 import security_group_pb2 as pb
from fabric.runtime.errors import AlreadyExists, FabricError, QuotaExceeded, StaleRevision
from fabric.runtime.store import Store, Transaction

NAME = "default"
_TRIES = 5


def create(store: Store, txn: Transaction, group: pb.SecurityGroup) -> None:
    """Add a group with its first rules to the transaction."""
    txn.create(SECURITY_GROUPS, group)
    add_rules(store, txn, group)


def add_rules(store: Store, txn: Transaction, group: pb.SecurityGroup) -> None:
    """What a new group begins with."""
    for rule in first_rules(store, group):
        remote = store.find(ADDRESS_GROUPS, rule.spec.remote_address_group_id)
        if remote is not None:
            txn.expect(ADDRESS_GROUPS, remote)
        txn.create(RULES, rule)


class DefaultGroups:
    """Finds and makes them; the claim (default, project) decides between several that make one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, project_id: str) -> pb.SecurityGroup | None:
        """The project's, if it is there."""
        id_ = self._store.owner(SECURITY_GROUPS, "default", project_id)
        group = self._store.find(SECURITY_GROUPS, id_) if id_ else None
        return None if group is None or marked(group) else group

    async def ensure(self, project_id: str) -> pb.SecurityGroup | None:
        """Make it when it is not there; None: there is no project, or its quota has no room."""
        if not project_id:
            return None
        for _ in range(_TRIES):
            found = self.find(project_id)
            if found is not None:
                return found
            async with self._store.lock(f"default security group {project_id}"):
                if self.find(project_id) is None:
                    error = await self._make(project_id)
                    if isinstance(error, QuotaExceeded):
                        return None
            await self._store.fresh(None)
        return self.find(project_id)

    async def _make(self, project_id: str) -> FabricError | None:
        group = pb.SecurityGroup()
        group.meta.id, group.meta.project_id = str(uuid.uuid4()), project_id
        group.meta.name, group.meta.description = NAME, "Default security group"
        group.spec.stateful, group.spec.is_default = True, True
        try:
            async with self._store.transaction() as txn:
                create(self._store, txn, group)
        except (AlreadyExists, StaleRevision, QuotaExceeded) as error:
            return error
        return None
