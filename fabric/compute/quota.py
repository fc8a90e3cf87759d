"""Quotas of projects, of users in them, and the defaults."""

from collections.abc import Mapping

from fabric.compute.collection import LIMITS, QUOTA_LIMITS
from fabric.compute.server import SERVERS
from fabric.compute.v1 import quota_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, QuotaExceeded
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of
from fabric.runtime.store import UNLIMITED, Store
from fabric.type.v1 import quota_pb2

MAX_LIMIT = 2**31 - 1
DEFAULT = "default"
_API = "os_compute_api:os-quota"


class Quotas:
    """The methods of QuotaService."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy
        store.table(QUOTA_LIMITS).subscribe(self._take_over_defaults)

    def _take_over_defaults(self, id_: str) -> None:
        kept = self._store.find(QUOTA_LIMITS, DEFAULT) if id_ == DEFAULT else None
        if kept is not None:
            self._store.limits.update(kept.limits)

    async def GetQuotas(self, request: pb.GetQuotasRequest, caller: Caller) -> pb.GetQuotasResponse:
        project_id = request.project_id or caller.project_id
        self._policy.enforce(caller, f"{_API}-sets:show", {"project_id": project_id})
        return self._quotas(project_id, request.user_id)

    async def GetDefaultQuotas(
        self, request: pb.GetDefaultQuotasRequest, caller: Caller
    ) -> pb.GetQuotasResponse:
        self._policy.enforce(caller, f"{_API}-sets:defaults", {"project_id": caller.project_id})
        return self._defaults()

    async def UpdateQuotas(self, request: pb.UpdateQuotasRequest, caller: Caller) -> pb.GetQuotasResponse:
        project_id, user_id = request.project_id, request.user_id
        self._policy.enforce(caller, f"{_API}-sets:update", {"project_id": project_id})
        now = {quota.resource: quota for quota in self._quotas(project_id, user_id).quotas}
        for resource, limit in request.limits.items():
            _check(resource, limit)
            usage = now[resource].usage
            if limit != UNLIMITED and limit < usage and not request.force:
                raise InvalidArgument(
                    f"Quota limit {limit} for {_short(resource)} must be greater than or equal to already "
                    f"used and reserved {usage}.",
                    reason="QUOTA_BELOW_USAGE",
                    field=_short(resource),
                )
            top = self._store.quota(project_id, resource).limit
            if user_id and top != UNLIMITED and not 0 <= limit <= top:
                raise InvalidArgument(
                    f"Quota limit {limit} for {_short(resource)} must be less than or equal to {top}.",
                    reason="QUOTA_ABOVE_PROJECT",
                    field=_short(resource),
                )
        if user_id:
            await self._keep(f"{project_id}:{user_id}", project_id, request.limits)
        else:
            async with self._store.transaction() as txn:
                for resource, limit in request.limits.items():
                    txn.set_limit(project_id, resource, limit)
        return self._quotas(project_id, user_id)

    async def DeleteQuotas(self, request: pb.DeleteQuotasRequest, caller: Caller) -> pb.DeleteQuotasResponse:
        project_id = request.project_id
        self._policy.enforce(caller, f"{_API}-sets:delete", {"project_id": project_id})
        async with self._store.transaction() as txn:
            if request.user_id:
                kept = self._store.find(QUOTA_LIMITS, f"{project_id}:{request.user_id}")
                if kept is not None:
                    txn.remove(QUOTA_LIMITS, kept)
            else:
                for resource in LIMITS:
                    txn.set_limit(project_id, resource, None)
        return pb.DeleteQuotasResponse()

    async def UpdateDefaultQuotas(
        self, request: pb.UpdateDefaultQuotasRequest, caller: Caller
    ) -> pb.GetQuotasResponse:
        self._policy.enforce(caller, f"{_API}-class-sets:update", {})
        for resource, limit in request.limits.items():
            _check(resource, limit)
        await self._keep(DEFAULT, "", request.limits)
        return self._defaults()

    # -- helpers

    def _quotas(self, project_id: str, user_id: str) -> pb.GetQuotasResponse:
        found = [self._store.quota(project_id, resource) for resource in LIMITS]
        if user_id:
            own = user_limits(self._store, project_id, user_id)
            used = user_usage(self._store, project_id, user_id)
            for quota in found:
                quota.limit = own.get(quota.resource, quota.limit)
                quota.usage = used.get(quota.resource, 0)
        return pb.GetQuotasResponse(quotas=found)

    def _defaults(self) -> pb.GetQuotasResponse:
        limits = self._store.limits
        return pb.GetQuotasResponse(
            quotas=[quota_pb2.Quota(resource=name, limit=limits.get(name, UNLIMITED)) for name in LIMITS]
        )

    async def _keep(self, id_: str, project_id: str, limits: Mapping[str, int]) -> None:
        kept = self._store.find(QUOTA_LIMITS, id_)
        async with self._store.transaction() as txn:
            if kept is None:
                made = pb.QuotaLimits(limits=limits)
                made.meta.id, made.meta.project_id = id_, project_id
                txn.create(QUOTA_LIMITS, made)
            else:
                changed = copy_of(kept)
                changed.limits.update(limits)
                txn.update(QUOTA_LIMITS, changed)


def user_limits(store: Store, project_id: str, user_id: str) -> Mapping[str, int]:
    """The limits of the user that are lower than the project's."""
    kept = store.find(QUOTA_LIMITS, f"{project_id}:{user_id}")
    return {} if kept is None else kept.limits


def user_usage(store: Store, project_id: str, user_id: str) -> Mapping[str, int]:
    """What the user's servers in the project take."""
    used = dict.fromkeys(("compute.instances", "compute.cores", "compute.ram"), 0)
    for server in store.table(SERVERS).by("spec.user_id", user_id):
        if server.meta.project_id == project_id:
            _add(used, server)
    return used


def check_user(store: Store, servers: list[server_pb2.Server], user_id: str) -> None:
    """Raise QuotaExceeded when the servers to be made are more than the user may have in the project."""
    project_id = servers[0].meta.project_id
    limits = user_limits(store, project_id, user_id)
    if not limits:
        return
    used = user_usage(store, project_id, user_id)
    wanted = dict.fromkeys(used, 0)
    for server in servers:
        _add(wanted, server)
    for resource, amount in wanted.items():
        limit = limits.get(resource, UNLIMITED)
        if limit != UNLIMITED and used[resource] + amount > limit:
            raise QuotaExceeded(
                f"Quota exceeded for {_short(resource)}: Requested {amount}, but already used "
                f"{used[resource]} of {limit} {_short(resource)}",
                resource=resource,
            )


def _add(used: dict[str, int], server: server_pb2.Server) -> None:
    flavor = server.spec.flavor
    used["compute.instances"] += 1
    used["compute.cores"] += flavor.vcpus
    used["compute.ram"] += flavor.ram_mib


def _short(resource: str) -> str:
    return resource.removeprefix("compute.")


def _check(resource: str, limit: int) -> None:
    if resource not in LIMITS:
        raise InvalidArgument(f"{_short(resource)!r} has no quota.", field=_short(resource))
    if not UNLIMITED <= limit <= MAX_LIMIT:
        raise InvalidArgument(
            f"Quota limit {limit} for {_short(resource)} must be -1 or from 0 to {MAX_LIMIT}.",
            field=_short(resource),
        )
