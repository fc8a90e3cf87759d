"""Regions, services and endpoints."""

from typing import ClassVar

from fabric.identity.catalog import url_of
from fabric.identity.collection import (
    ENDPOINTS,
    LIMITS,
    POLICY_ASSOCIATIONS,
    PROJECT_ENDPOINTS,
    REGIONS,
    SERVICES,
)
from fabric.identity.resource import IdentityResource, merge_struct
from fabric.identity.v1 import catalog_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import InvalidArgument, PermissionDenied
from fabric.runtime.store import Transaction

_PLACES = {"tenant_id": "x", "project_id": "x", "user_id": "x"}


def _rules(noun: str, plural: str) -> dict[str, str]:
    rules = {verb: f"identity:{verb}_{noun}" for verb in ("create", "get", "update", "delete")}
    return rules | {"list": f"identity:list_{plural}"}


class Regions(IdentityResource[catalog_pb2.Region]):
    """A tree; callers may choose the id."""

    collection = REGIONS
    domain_field = False
    keeps_id = True
    policies: ClassVar = _rules("region", "regions")

    def accept(
        self, caller: Caller, new: catalog_pb2.Region, old: catalog_pb2.Region | None, txn: Transaction
    ) -> None:
        if len(new.meta.id) > 255:
            raise InvalidArgument("'id' is longer than 255 characters.", field="id")
        if old is not None:
            merge_struct(new.extra, old.extra)
        above = new.spec.parent_region_id
        if above:
            parent = self.store.get(REGIONS, above)
            txn.expect(REGIONS, parent)
        while above:
            if above == new.meta.id:
                raise InvalidArgument("A region cannot be below itself.", field="parent_region_id")
            found = self.store.find(REGIONS, above)
            above = found.spec.parent_region_id if found is not None else ""

    def check_delete(self, caller: Caller, old: catalog_pb2.Region, txn: Transaction) -> None:
        """The regions below go with it; endpoints must not be there."""
        due = [old]
        while due:
            region = due.pop()
            if self.store.table(ENDPOINTS).count("region", region.meta.id):
                raise PermissionDenied(
                    f"Unable to delete region {region.meta.id} because it or its child regions have "
                    "associated endpoints.",
                    reason="REGION_IN_USE",
                )
            if region is not old:
                txn.remove(REGIONS, region)
            due += self.store.table(REGIONS).by("parent", region.meta.id)


class Services(IdentityResource[catalog_pb2.Service]):
    """What the cloud offers."""

    collection = SERVICES
    domain_field = False
    policies: ClassVar = _rules("service", "services")

    def accept(
        self, caller: Caller, new: catalog_pb2.Service, old: catalog_pb2.Service | None, txn: Transaction
    ) -> None:
        if not new.spec.type:
            raise InvalidArgument("'type' must not be empty.", field="type")
        if old is not None:
            merge_struct(new.extra, old.extra)

    def check_delete(self, caller: Caller, old: catalog_pb2.Service, txn: Transaction) -> None:
        id_ = old.meta.id
        for endpoint in self.store.table(ENDPOINTS).by("service", id_):
            remove_endpoint(self, endpoint.meta.id, txn)
            txn.remove(ENDPOINTS, endpoint)
        for association in self.store.table(POLICY_ASSOCIATIONS):
            if association.service_id == id_:
                txn.remove(POLICY_ASSOCIATIONS, association)
        for limit in self.store.table(LIMITS):
            if limit.service_id == id_:
                txn.remove(LIMITS, limit)


class Endpoints(IdentityResource[catalog_pb2.Endpoint]):
    """Where a service is, in a region and for an audience."""

    collection = ENDPOINTS
    domain_field = False
    policies: ClassVar = _rules("endpoint", "endpoints")

    def accept(
        self, caller: Caller, new: catalog_pb2.Endpoint, old: catalog_pb2.Endpoint | None, txn: Transaction
    ) -> None:
        if old is not None:
            merge_struct(new.extra, old.extra)
        if new.spec.interface not in ("public", "internal", "admin"):
            raise InvalidArgument("'interface' must be public, internal or admin.", field="interface")
        service = self.store.find(SERVICES, new.spec.service_id)
        if service is None:
            raise InvalidArgument(f"Could not find service: {new.spec.service_id}.", field="service_id")
        txn.expect(SERVICES, service)
        if new.spec.region_id:
            region = self.store.find(REGIONS, new.spec.region_id)
            if region is None:
                raise InvalidArgument(f"Could not find region: {new.spec.region_id}.", field="region_id")
            txn.expect(REGIONS, region)
        try:
            url_of(new.spec.url, _PLACES)
        except KeyError as error:
            raise InvalidArgument(f"'url' has an unknown place {error}.", field="url") from error

    def check_delete(self, caller: Caller, old: catalog_pb2.Endpoint, txn: Transaction) -> None:
        remove_endpoint(self, old.meta.id, txn)


def remove_endpoint(resource: IdentityResource, endpoint_id: str, txn: Transaction) -> None:  # type: ignore[type-arg]
    """Take away all that goes with an endpoint."""
    for link in resource.store.table(PROJECT_ENDPOINTS).by("endpoint", endpoint_id):
        txn.remove(PROJECT_ENDPOINTS, link)
    for association in resource.store.table(POLICY_ASSOCIATIONS):
        if association.endpoint_id == endpoint_id:
            txn.remove(POLICY_ASSOCIATIONS, association)
