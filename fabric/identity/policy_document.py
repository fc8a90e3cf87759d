"""Policy documents that are kept for services, and which endpoint they are for (OS-ENDPOINT-POLICY)."""

from typing import Any, ClassVar

from fabric.identity.collection import ENDPOINTS, POLICIES, POLICY_ASSOCIATIONS, REGIONS, SERVICES
from fabric.identity.resource import IdentityResource, merge_struct
from fabric.identity.v1 import policy_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.store import Collection, Store, Transaction


class Policies(IdentityResource[pb.Policy]):
    """A type and a blob."""

    collection = POLICIES
    domain_field = False
    policies: ClassVar = {
        "create": "identity:create_policy",
        "get": "identity:get_policy",
        "list": "identity:list_policies",
        "update": "identity:update_policy",
        "delete": "identity:delete_policy",
    }

    def accept(self, caller: Caller, new: pb.Policy, old: pb.Policy | None, txn: Transaction) -> None:
        if not new.type:
            raise InvalidArgument("'type' must not be empty.", field="type")
        if old is not None:
            merge_struct(new.extra, old.extra)

    def check_delete(self, caller: Caller, old: pb.Policy, txn: Transaction) -> None:
        for association in self.store.table(POLICY_ASSOCIATIONS).by("policy", old.meta.id):
            txn.remove(POLICY_ASSOCIATIONS, association)


def _place(association: pb.PolicyAssociation) -> str:
    """At most one policy a place."""
    return f"{association.endpoint_id}:{association.service_id}:{association.region_id}"


class Associations:
    """The RPCs about policies' places: an endpoint, a service, a service in a region."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    async def AddPolicyAssociation(
        self, request: pb.AddPolicyAssociationRequest, caller: Caller
    ) -> pb.PolicyAssociation:
        asked = request.association
        self._enter(caller, "create", asked)
        made = pb.PolicyAssociation()
        made.CopyFrom(asked)
        made.meta.Clear()
        made.meta.id = _place(asked)
        old = self._store.find(POLICY_ASSOCIATIONS, made.meta.id)
        async with self._store.transaction() as txn:
            txn.expect(POLICIES, self._store.get(POLICIES, asked.policy_id))
            if old is None:
                txn.create(POLICY_ASSOCIATIONS, made)
            else:
                made.meta.CopyFrom(old.meta)
                txn.update(POLICY_ASSOCIATIONS, made)
        return made

    async def CheckPolicyAssociation(
        self, request: pb.CheckPolicyAssociationRequest, caller: Caller
    ) -> pb.PolicyAssociation:
        self._enter(caller, "check", request.association)
        return self._find(request.association)

    async def RemovePolicyAssociation(
        self, request: pb.RemovePolicyAssociationRequest, caller: Caller
    ) -> pb.PolicyAssociation:
        self._enter(caller, "delete", request.association)
        found = self._find(request.association)
        async with self._store.transaction() as txn:
            txn.remove(POLICY_ASSOCIATIONS, found)
        return found

    async def ListPolicyEndpoints(
        self, request: pb.ListPolicyEndpointsRequest, caller: Caller
    ) -> pb.ListPolicyEndpointsResponse:
        self._policy.enforce(caller, "identity:list_endpoints_for_policy", {})
        self._store.get(POLICIES, request.policy_id)
        ids = [e.meta.id for e in self._store.table(ENDPOINTS) if self._of(e.meta.id) == request.policy_id]
        return pb.ListPolicyEndpointsResponse(endpoint_ids=ids)

    async def GetEndpointPolicy(self, request: pb.GetEndpointPolicyRequest, caller: Caller) -> pb.Policy:
        self._policy.enforce(caller, "identity:get_policy_for_endpoint", {})
        self._store.get(ENDPOINTS, request.endpoint_id)
        found = self._of(request.endpoint_id)
        if not found:
            raise NotFound(
                f"No policy is associated with endpoint {request.endpoint_id}.", reason="NO_POLICY"
            )
        return self._store.get(POLICIES, found)

    def _of(self, endpoint_id: str) -> str:
        """The policy's id: of the endpoint, else of its service in its region or one above, else of its service."""
        endpoint = self._store.get(ENDPOINTS, endpoint_id)
        places = [f"{endpoint_id}::"]
        region = self._store.find(REGIONS, endpoint.spec.region_id)
        while region is not None:
            places.append(f":{endpoint.spec.service_id}:{region.meta.id}")
            region = self._store.find(REGIONS, region.spec.parent_region_id)
        places.append(f":{endpoint.spec.service_id}:")
        for place in places:
            found = self._store.find(POLICY_ASSOCIATIONS, place)
            if found is not None:
                return found.policy_id
        return ""

    def _enter(self, caller: Caller, verb: str, asked: pb.PolicyAssociation) -> None:
        noun = "endpoint" if asked.endpoint_id else "region_and_service" if asked.region_id else "service"
        self._policy.enforce(caller, f"identity:{verb}_policy_association_for_{noun}", {})
        self._store.get(POLICIES, asked.policy_id)
        places: tuple[tuple[Collection[Any], str], ...] = (
            (ENDPOINTS, asked.endpoint_id),
            (SERVICES, asked.service_id),
            (REGIONS, asked.region_id),
        )
        for collection, id_ in places:
            if id_:
                self._store.get(collection, id_)

    def _find(self, asked: pb.PolicyAssociation) -> pb.PolicyAssociation:
        found = self._store.find(POLICY_ASSOCIATIONS, _place(asked))
        if found is None or found.policy_id != asked.policy_id:
            raise NotFound("Could not find policy association.", reason="POLICY_ASSOCIATION_NOT_FOUND")
        return found
