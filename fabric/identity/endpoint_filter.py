"""Which endpoints a project sees (OS-EP-FILTER): chosen one by one, or by groups that filters describe."""

from typing import Any, ClassVar

from fabric.identity.catalog import Catalog
from fabric.identity.collection import ENDPOINT_GROUPS, ENDPOINTS, PROJECT_ENDPOINTS, PROJECTS
from fabric.identity.resource import IdentityResource, check_name
from fabric.identity.v1 import catalog_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound
from fabric.runtime.policy import Policy
from fabric.runtime.store import Collection, Store, Transaction

FILTERS = frozenset({"service_id", "region_id", "interface", "enabled"})


class EndpointGroups(IdentityResource[pb.EndpointGroup]):
    """A name and filters."""

    collection = ENDPOINT_GROUPS
    domain_field = False
    policies: ClassVar = {
        "create": "identity:create_endpoint_group",
        "get": "identity:get_endpoint_group",
        "list": "identity:list_endpoint_groups",
        "update": "identity:update_endpoint_group",
        "delete": "identity:delete_endpoint_group",
    }

    def accept(
        self, caller: Caller, new: pb.EndpointGroup, old: pb.EndpointGroup | None, txn: Transaction
    ) -> None:
        check_name(new.meta.name, 255)
        if old is None and not new.spec.filters:
            raise InvalidArgument("'filters' must not be empty.", field="filters")
        for name in new.spec.filters:
            if name not in FILTERS:
                raise InvalidArgument(f"There is no filter {name[:64]!r}.", field="filters")
        if new.spec.filters.get("interface", "public") not in ("public", "internal", "admin"):
            raise InvalidArgument("'interface' must be public, internal or admin.", field="filters")

    def check_delete(self, caller: Caller, old: pb.EndpointGroup, txn: Transaction) -> None:
        for link in self.store.table(PROJECT_ENDPOINTS).by("endpoint", old.meta.id):
            txn.remove(PROJECT_ENDPOINTS, link)


class EndpointLinks:
    """The RPCs that tie projects to endpoints and to groups of them."""

    def __init__(self, store: Store, policy: Policy, catalog: Catalog) -> None:
        self._store = store
        self._policy = policy
        self._catalog = catalog

    async def AddProjectEndpoint(self, request: Any, caller: Caller) -> pb.ProjectEndpoint:
        self._enter(caller, "add_endpoint_to_project", request)
        return await self._add(
            pb.ProjectEndpoint(project_id=request.project_id, endpoint_id=request.endpoint_id)
        )

    async def CheckProjectEndpoint(self, request: Any, caller: Caller) -> pb.ProjectEndpoint:
        self._enter(caller, "check_endpoint_in_project", request)
        return self._find(request.project_id, request.endpoint_id)

    async def RemoveProjectEndpoint(self, request: Any, caller: Caller) -> pb.ProjectEndpoint:
        self._enter(caller, "remove_endpoint_from_project", request)
        return await self._remove(request.project_id, request.endpoint_id)

    async def ListProjectEndpoints(self, request: Any, caller: Caller) -> pb.ListProjectEndpointsResponse:
        self._enter(caller, "list_endpoints_for_project", request)
        chosen = self._catalog.chosen(request.project_id) or set()
        found = [endpoint for endpoint in self._store.table(ENDPOINTS) if endpoint.meta.id in chosen]
        return pb.ListProjectEndpointsResponse(endpoints=found)

    async def ListEndpointProjects(self, request: Any, caller: Caller) -> pb.ListEndpointProjectsResponse:
        self._enter(caller, "list_projects_for_endpoint", request)
        links = self._store.table(PROJECT_ENDPOINTS).by("endpoint", request.endpoint_id)
        return pb.ListEndpointProjectsResponse(project_ids=[link.project_id for link in links])

    async def AddEndpointGroupProject(self, request: Any, caller: Caller) -> pb.ProjectEndpoint:
        self._enter(caller, "add_endpoint_group_to_project", request)
        return await self._add(
            pb.ProjectEndpoint(project_id=request.project_id, endpoint_group_id=request.endpoint_group_id)
        )

    async def CheckEndpointGroupProject(self, request: Any, caller: Caller) -> pb.ProjectEndpoint:
        self._enter(caller, "get_endpoint_group_in_project", request)
        return self._find(request.project_id, request.endpoint_group_id)

    async def RemoveEndpointGroupProject(self, request: Any, caller: Caller) -> pb.ProjectEndpoint:
        self._enter(caller, "remove_endpoint_group_from_project", request)
        return await self._remove(request.project_id, request.endpoint_group_id)

    async def ListEndpointGroupProjects(
        self, request: Any, caller: Caller
    ) -> pb.ListEndpointGroupProjectsResponse:
        self._enter(caller, "list_projects_associated_with_endpoint_group", request)
        links = self._store.table(PROJECT_ENDPOINTS).by("endpoint", request.endpoint_group_id)
        return pb.ListEndpointGroupProjectsResponse(project_ids=[link.project_id for link in links])

    async def ListEndpointGroupEndpoints(
        self, request: Any, caller: Caller
    ) -> pb.ListEndpointGroupEndpointsResponse:
        self._enter(caller, "list_endpoints_associated_with_endpoint_group", request)
        group = self._store.get(ENDPOINT_GROUPS, request.endpoint_group_id)
        return pb.ListEndpointGroupEndpointsResponse(endpoints=self._catalog.members(group))

    async def ListProjectEndpointGroups(
        self, request: Any, caller: Caller
    ) -> pb.ListProjectEndpointGroupsResponse:
        self._enter(caller, "list_endpoint_groups_for_project", request)
        links = self._store.table(PROJECT_ENDPOINTS).by("project", request.project_id)
        groups = [self._store.find(ENDPOINT_GROUPS, link.endpoint_group_id) for link in links]
        return pb.ListProjectEndpointGroupsResponse(
            endpoint_groups=[group for group in groups if group is not None]
        )

    def _enter(self, caller: Caller, rule: str, request: Any) -> None:
        """Check the policy, and that what is named exists."""
        self._policy.enforce(caller, f"identity:{rule}", {})
        parts: tuple[tuple[str, Collection[Any]], ...] = (
            ("project_id", PROJECTS),
            ("endpoint_id", ENDPOINTS),
            ("endpoint_group_id", ENDPOINT_GROUPS),
        )
        for name, collection in parts:
            if name in request.DESCRIPTOR.fields_by_name:
                id_ = getattr(request, name)
                if self._store.find(collection, id_) is None:
                    noun = name.removesuffix("_id").replace("_", " ")
                    reason = f"{noun.upper().replace(' ', '_')}_NOT_FOUND"
                    raise NotFound(f"Could not find {noun}: {id_}.", reason=reason)

    async def _add(self, link: pb.ProjectEndpoint) -> pb.ProjectEndpoint:
        link.meta.id = f"{link.project_id}:{link.endpoint_id or link.endpoint_group_id}"
        if self._store.find(PROJECT_ENDPOINTS, link.meta.id) is None:
            try:
                async with self._store.transaction() as txn:
                    txn.expect(PROJECTS, self._store.get(PROJECTS, link.project_id))
                    if link.endpoint_id:
                        txn.expect(ENDPOINTS, self._store.get(ENDPOINTS, link.endpoint_id))
                    else:
                        group = self._store.get(ENDPOINT_GROUPS, link.endpoint_group_id)
                        txn.expect(ENDPOINT_GROUPS, group)
                    txn.create(PROJECT_ENDPOINTS, link)
            except AlreadyExists:
                pass  # as it should be
        return link

    def _find(self, project_id: str, endpoint_id: str) -> pb.ProjectEndpoint:
        found = self._store.find(PROJECT_ENDPOINTS, f"{project_id}:{endpoint_id}")
        if found is None:
            raise NotFound(
                f"Endpoint {endpoint_id} not found in project {project_id}.", reason="NOT_IN_PROJECT"
            )
        return found

    async def _remove(self, project_id: str, endpoint_id: str) -> pb.ProjectEndpoint:
        found = self._find(project_id, endpoint_id)
        async with self._store.transaction() as txn:
            txn.remove(PROJECT_ENDPOINTS, found)
        return found
