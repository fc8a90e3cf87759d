"""Flavors of network services, and the profiles that they offer."""

from collections.abc import Sequence

from fabric.network import address
from fabric.network.collection import FLAVORS, ROUTERS, SERVICE_PROFILES, marked
from fabric.network.record import NetworkResource
from fabric.network.v1 import flavor_pb2 as pb
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

L3 = "L3_ROUTER_NAT"
SERVICE_TYPES = frozenset(
    {L3, "CORE", "DUMMY", "FIREWALL_V2", "FLAVORS", "LOADBALANCERV2", "METERING", "QOS", "VPN"}
)
DRIVERS = frozenset({"", "fabric"})  # of profiles: what makes routers here


class FlavorRemoval:
    """A flavor is not taken from routers."""

    collection = FLAVORS

    def check_unused(self, store: Store, record: pb.Flavor) -> None:
        if any(not marked(router) for router in store.table(ROUTERS).by("flavor", record.meta.id)):
            raise FailedPrecondition(
                f"Flavor {record.meta.id} is used by some service instance.", reason="FLAVOR_IN_USE"
            )

    def release(self, store: Store, record: pb.Flavor, txn: Transaction) -> None:
        """Nothing goes with it."""


class Flavors(NetworkResource[pb.Flavor]):
    """The rules of flavors."""

    collection = FLAVORS
    policies = {
        "create": "create_flavor",
        "get": "get_flavor",
        "list": "get_availability_zone",
        "update": "update_flavor",
        "delete": "delete_flavor",
    }
    narrow = {"meta.id": "id", "meta.name": "name"}

    def reachable(self, caller: Caller) -> list[pb.Flavor]:
        return list(self.store.table(FLAVORS))

    def admit(
        self,
        caller: Caller,
        new: pb.Flavor,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.Flavor],
    ) -> None:
        new.meta.project_id = ""
        if new.spec.service_type not in SERVICE_TYPES:
            raise address.invalid(f"Invalid service type: {new.spec.service_type}", "service_type")
        if "spec.enabled" not in given:
            new.spec.enabled = True
        for id_ in new.spec.service_profile_ids:
            txn.expect(SERVICE_PROFILES, self._profile(id_))

    def change(self, caller: Caller, new: pb.Flavor, old: pb.Flavor, txn: Transaction) -> None:
        if new.spec.service_type != old.spec.service_type:
            raise InvalidArgument(
                "Cannot update read-only attribute service_type",
                reason="HTTP_BAD_REQUEST",
                field="service_type",
            )
        for id_ in new.spec.service_profile_ids:
            txn.expect(SERVICE_PROFILES, self._profile(id_))

    async def delete(self, id_: str, caller: Caller) -> pb.Flavor:
        return await self.remove(id_, caller, FlavorRemoval())

    async def AddServiceProfile(self, request: pb.AddServiceProfileRequest, caller: Caller) -> pb.Flavor:
        self.policy.enforce(caller, "create_flavor_service_profile", {})
        return await self._associate(request.id, request.service_profile_id, caller, wanted=True)

    async def RemoveServiceProfile(
        self, request: pb.RemoveServiceProfileRequest, caller: Caller
    ) -> pb.Flavor:
        self.policy.enforce(caller, "delete_flavor_service_profile", {})
        return await self._associate(request.id, request.service_profile_id, caller, wanted=False)

    @again
    async def _associate(self, id_: str, profile_id: str, caller: Caller, *, wanted: bool) -> pb.Flavor:
        flavor = copy_of(self.find(id_, caller))
        profile = self._profile(profile_id)
        known = profile_id in flavor.spec.service_profile_ids
        if known and wanted:
            raise AlreadyExists(
                f"Service Profile {profile_id} is already associated with flavor {id_}.",
                reason="FLAVOR_SERVICE_PROFILE_BINDING_EXISTS",
            )
        if not known and not wanted:
            raise NotFound(
                f"Service Profile {profile_id} is not associated with flavor {id_}.",
                reason="FLAVOR_SERVICE_PROFILE_BINDING_NOT_FOUND",
            )
        if wanted:
            flavor.spec.service_profile_ids.append(profile_id)
        else:
            flavor.spec.service_profile_ids.remove(profile_id)
        async with self.store.transaction() as txn:
            txn.expect(SERVICE_PROFILES, profile)
            txn.update(FLAVORS, flavor)
        return self.kept(flavor)

    def _profile(self, id_: str) -> pb.ServiceProfile:
        found = self.store.find(SERVICE_PROFILES, id_)
        if found is None or marked(found):
            raise NotFound(
                f"Service Profile {id_} could not be found.",
                reason="SERVICE_PROFILE_NOT_FOUND",
                field="service_profile_id",
            )
        return found


class ServiceProfiles(NetworkResource[pb.ServiceProfile]):
    """The rules of profiles."""

    collection = SERVICE_PROFILES
    policies = {
        "create": "create_service_profile",
        "get": "get_service_profile",
        "list": "get_availability_zone",
        "update": "update_service_profile",
        "delete": "delete_service_profile",
    }
    narrow = {"meta.id": "id"}

    def reachable(self, caller: Caller) -> list[pb.ServiceProfile]:
        return list(self.store.table(SERVICE_PROFILES))

    def admit(
        self,
        caller: Caller,
        new: pb.ServiceProfile,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.ServiceProfile],
    ) -> None:
        new.meta.project_id = ""
        if "spec.enabled" not in given:
            new.spec.enabled = True
        self._check(new)

    def change(
        self, caller: Caller, new: pb.ServiceProfile, old: pb.ServiceProfile, txn: Transaction
    ) -> None:
        self._check(new)
        if (new.spec.driver, new.spec.metainfo) != (old.spec.driver, old.spec.metainfo):
            self._check_unused(old)

    def check_delete(self, caller: Caller, old: pb.ServiceProfile, txn: Transaction) -> None:
        self._check_unused(old)

    def _check(self, new: pb.ServiceProfile) -> None:
        if not new.spec.driver and not new.spec.metainfo:
            raise InvalidArgument(
                "Service Profile needs either a driver or metainfo.",
                reason="SERVICE_PROFILE_EMPTY",
                field="driver",
            )
        if new.spec.driver not in DRIVERS:
            raise NotFound(
                f"Service Profile driver {new.spec.driver} could not be found.",
                reason="SERVICE_PROFILE_DRIVER_NOT_FOUND",
                field="driver",
            )

    def _check_unused(self, old: pb.ServiceProfile) -> None:
        if self.store.table(FLAVORS).by("profile", old.meta.id):
            raise FailedPrecondition(
                f"Service Profile {old.meta.id} is used by some service instance.",
                reason="SERVICE_PROFILE_IN_USE",
            )


def choose(store: Store, id_: str, txn: Transaction) -> None:
    """Let a new router be of the flavor. Raises NotFound, InvalidArgument, FailedPrecondition."""
    found = store.find(FLAVORS, id_)
    if found is None or marked(found):
        raise NotFound(f"Flavor {id_} could not be found.", reason="FLAVOR_NOT_FOUND", field="flavor_id")
    if found.spec.service_type != L3:
        raise InvalidArgument(
            f"Service type {found.spec.service_type} of flavor {id_} is not {L3}.",
            reason="INVALID_SERVICE_TYPE",
            field="flavor_id",
        )
    profiles = (store.find(SERVICE_PROFILES, profile) for profile in found.spec.service_profile_ids)
    if not found.spec.enabled:
        raise FailedPrecondition("Flavor is not enabled.", reason="FLAVOR_DISABLED", field="flavor_id")
    if not any(profile is not None and profile.spec.enabled for profile in profiles):
        raise FailedPrecondition("Service Profile is not enabled.", reason="SERVICE_PROFILE_DISABLED")
    txn.expect(FLAVORS, found)
