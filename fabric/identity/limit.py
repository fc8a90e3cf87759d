"""Unified limits: the cloud's defaults, and those of projects and domains."""

from typing import Any, ClassVar

from fabric.identity.collection import LIMITS, PROJECTS, REGIONS, REGISTERED_LIMITS, SERVICES
from fabric.identity.resource import IdentityResource, new_id
from fabric.identity.v1 import limit_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, PermissionDenied
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.type.v1.query_pb2 import Query


def _place(record: Any) -> str:
    return f"{record.service_id}/{record.region_id}/{record.resource_name}"


def _check_parts(resource: IdentityResource[Any], new: Any, txn: Transaction) -> None:
    """The service and the region must be there."""
    if not new.resource_name:
        raise InvalidArgument("'resource_name' must not be empty.", field="resource_name")
    service = resource.store.find(SERVICES, new.service_id)
    if service is None:
        raise InvalidArgument(f"Could not find service: {new.service_id}.", field="service_id")
    txn.expect(SERVICES, service)
    if new.region_id:
        region = resource.store.find(REGIONS, new.region_id)
        if region is None:
            raise InvalidArgument(f"Could not find region: {new.region_id}.", field="region_id")
        txn.expect(REGIONS, region)


class RegisteredLimits(IdentityResource[pb.RegisteredLimit]):
    """One for a service, region and resource."""

    collection = REGISTERED_LIMITS
    domain_field = False
    policies: ClassVar = {
        "create": "identity:create_registered_limits",
        "get": "identity:get_registered_limit",
        "list": "identity:list_registered_limits",
        "update": "identity:update_registered_limit",
        "delete": "identity:delete_registered_limit",
    }

    def accept(
        self, caller: Caller, new: pb.RegisteredLimit, old: pb.RegisteredLimit | None, txn: Transaction
    ) -> None:
        _check_parts(self, new, txn)
        if old is not None and _place(new) != _place(old):
            self._check_free(old, "update")

    def check_delete(self, caller: Caller, old: pb.RegisteredLimit, txn: Transaction) -> None:
        self._check_free(old, "delete")

    def _check_free(self, old: pb.RegisteredLimit, verb: str) -> None:
        if self.store.table(LIMITS).count("place", _place(old)):
            raise PermissionDenied(
                f"Unable to {verb} registered limit {old.meta.id} because there are project limits "
                "associated with it.",
                reason="REGISTERED_LIMIT_IN_USE",
            )


class Limits(IdentityResource[pb.Limit]):
    """Overrides; each needs its registered limit."""

    collection = LIMITS
    domain_field = False
    policies: ClassVar = {
        "create": "identity:create_limits",
        "get": "identity:get_limit",
        "list": "identity:list_limits",
        "update": "identity:update_limit",
        "delete": "identity:delete_limit",
    }

    def target(self, message: pb.Limit) -> dict[str, Any]:
        """Only what is there: a rule must not find None on both sides."""
        found: dict[str, Any] = {}
        if message.domain_id:
            found["target.limit.domain.id"] = message.domain_id
        if message.project_id:
            found["target.limit.project_id"] = message.project_id
            project = self.store.find(PROJECTS, message.project_id)
            if project is not None and project.spec.domain_id:
                found["target.limit.project.domain_id"] = project.spec.domain_id
        return found

    def candidates(self, caller: Caller, asked: Query) -> list[pb.Limit]:
        everything = list(self.store.table(LIMITS))
        if self.policy.allows(caller, self.policies["get"], {}):
            return everything
        rule = self.policies["get"]
        return [limit for limit in everything if self.policy.allows(caller, rule, self.target(limit))]

    def accept(self, caller: Caller, new: pb.Limit, old: pb.Limit | None, txn: Transaction) -> None:
        if bool(new.project_id) == bool(new.domain_id):
            raise InvalidArgument("A limit is of a project or of a domain.", field="project_id")
        if old is not None:
            return
        _check_parts(self, new, txn)
        owner = self.store.find(PROJECTS, new.project_id or new.domain_id)
        if owner is None or (new.domain_id and not owner.spec.is_domain):
            raise InvalidArgument("Could not find the project or domain.", field="project_id")
        txn.expect(PROJECTS, owner)
        registered = self.store.owner(REGISTERED_LIMITS, "place", _place(new))
        found = self.store.find(REGISTERED_LIMITS, registered or "")
        if found is None:
            raise PermissionDenied(
                "Unable to create a limit that has no corresponding registered limit.",
                reason="NO_LIMIT_REFERENCE",
            )
        txn.expect(REGISTERED_LIMITS, found)


class LimitExtras:
    """Creates of many: all or none."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._registered = RegisteredLimits(store, policy)
        self._limits = Limits(store, policy)
        self._store = store

    async def CreateRegisteredLimits(
        self, request: pb.CreateRegisteredLimitsRequest, caller: Caller
    ) -> pb.CreateRegisteredLimitsResponse:
        made = await self._create(self._registered, request.registered_limits, caller)
        return pb.CreateRegisteredLimitsResponse(registered_limits=made)

    async def CreateLimits(self, request: pb.CreateLimitsRequest, caller: Caller) -> pb.CreateLimitsResponse:
        return pb.CreateLimitsResponse(limits=await self._create(self._limits, request.limits, caller))

    async def _create(self, resource: Any, messages: Any, caller: Caller) -> list[Any]:
        made = [copy_of(message) for message in messages]
        async with self._store.transaction() as txn:
            for new in made:
                new.meta.id = new_id()
                resource.enforce("create", caller, new)
                resource.accept(caller, new, None, txn)
                txn.create(resource.collection, new)
        return [resource.kept(new) for new in made]
