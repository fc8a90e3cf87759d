"""Limits of projects, and what they use of them."""

from fabric.network.collection import LIMITS
from fabric.network.v1 import quota_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.store import ROOT, UNLIMITED, Store

MAX_LIMIT = 2**31 - 1
_PREFIX = "network."


class QuotaSets:
    """The methods of QuotaService."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    async def GetQuotaSet(self, request: pb.GetQuotaSetRequest, caller: Caller) -> pb.QuotaSet:
        self._enforce(caller, "get_quota", request.project_id)
        return self._set(request.project_id, defaults=request.defaults)

    async def ListQuotaSets(
        self, request: pb.ListQuotaSetsRequest, caller: Caller
    ) -> pb.ListQuotaSetsResponse:
        self._enforce(caller, "get_quota", "")
        prefix = f"{ROOT}/quota/"
        cache = self._store.cache
        projects = [parent.removeprefix(prefix) for parent in cache.parents() if parent.startswith(prefix)]
        found = [
            self._set(project)
            for project in projects
            if any(
                quota.HasField("limit") and quota.resource in LIMITS
                for quota in cache.table(prefix + project)
            )
        ]
        return pb.ListQuotaSetsResponse(quota_sets=found)

    async def UpdateQuotaSet(self, request: pb.UpdateQuotaSetRequest, caller: Caller) -> pb.QuotaSet:
        self._enforce(caller, "update_quota", request.project_id)
        async with self._store.transaction() as txn:
            for name, limit in request.limits.items():
                resource = _resource(name)
                if not UNLIMITED <= limit <= MAX_LIMIT:
                    raise InvalidArgument(
                        f"Invalid input for operation: '{limit}' is not a limit of {name}.",
                        reason="INVALID_INPUT",
                        field=name,
                    )
                usage = self._store.quota(request.project_id, resource).usage
                if request.check_limit and limit != UNLIMITED and limit < usage:
                    raise InvalidArgument(
                        f"Quota limit exceeded for resource {name}: {usage} are in use.",
                        reason="QUOTA_EXCEEDED",
                        field=name,
                    )
                txn.set_limit(request.project_id, resource, limit)
        return self._set(request.project_id)

    async def DeleteQuotaSet(self, request: pb.DeleteQuotaSetRequest, caller: Caller) -> pb.QuotaSet:
        self._enforce(caller, "delete_quota", request.project_id)
        table = self._store.cache.table(f"{ROOT}/quota/{request.project_id}")
        own = [resource for resource in LIMITS if (kept := table.get(resource)) and kept.HasField("limit")]
        if not own:
            raise NotFound(
                f"Quota for tenant {request.project_id} could not be found.", reason="TENANT_QUOTA_NOT_FOUND"
            )
        async with self._store.transaction() as txn:
            for resource in own:
                txn.set_limit(request.project_id, resource, None)
        return self._set(request.project_id)

    def _enforce(self, caller: Caller, rule: str, project_id: str) -> None:
        self._policy.enforce(caller, rule, {"project_id": project_id, "tenant_id": project_id})

    def _set(self, project_id: str, *, defaults: bool = False) -> pb.QuotaSet:
        found = pb.QuotaSet(project_id=project_id)
        for resource in LIMITS:
            use = found.resources[resource.removeprefix(_PREFIX)]
            if defaults:
                use.limit = self._store.limits.get(resource, UNLIMITED)
            else:
                quota = self._store.quota(project_id, resource)
                use.limit, use.usage = quota.limit, quota.usage
        return found


def _resource(name: str) -> str:
    resource = _PREFIX + name
    if resource not in LIMITS:
        raise InvalidArgument(f"Unrecognized attribute(s) '{name}'", reason="HTTP_BAD_REQUEST", field=name)
    return resource
