"""Address groups: sets of addresses that security group rules name as remote."""

from collections.abc import Callable, Iterable, Sequence

from fabric.network import address
from fabric.network.collection import ADDRESS_GROUPS, RULES, TEMPLATES
from fabric.network.grant import grant, rely
from fabric.network.sharing import SharedResource, withdraw_all
from fabric.network.v1 import address_group_pb2 as pb
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition, InvalidArgument, NotFound
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction

MAX_ADDRESSES = 1000


class AddressGroupRemoval:
    """A group goes when no rule names it."""

    collection = ADDRESS_GROUPS

    def check_unused(self, store: Store, record: pb.AddressGroup) -> None:
        if store.table(RULES).count("remote", record.meta.id) or store.table(TEMPLATES).count(
            "remote", record.meta.id
        ):
            raise FailedPrecondition(
                f"Address group {record.meta.id} is in use on one or more security group rules.",
                reason="ADDRESS_GROUP_IN_USE",
                address_group=record.meta.id,
            )

    def release(self, store: Store, record: pb.AddressGroup, txn: Transaction) -> None:
        withdraw_all(store, txn, record)


class AddressGroups(SharedResource[pb.AddressGroup]):
    """The rules of address groups."""

    collection = ADDRESS_GROUPS
    object_type = "address_group"
    policies = {
        "create": "create_address_group",
        "get": "get_address_group",
        "list": "get_availability_zone",
        "update": "update_address_group",
        "delete": "delete_address_group",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name"}

    def enforce(self, verb: str, caller: Caller, message: pb.AddressGroup) -> None:
        """Who may only look at a group is told that there is none to change, as Neutron does for these."""
        foreign = message.meta.project_id != caller.project_id
        if verb in ("update", "delete") and foreign and not caller.is_admin:
            raise self.missing(message.meta.id)
        super().enforce(verb, caller, message)

    def admit(
        self,
        caller: Caller,
        new: pb.AddressGroup,
        given: frozenset[str],
        txn: Transaction,
        earlier: Sequence[pb.AddressGroup],
    ) -> None:
        new.spec.shared = False
        new.spec.addresses[:] = _checked(new.spec.addresses)

    def change(self, caller: Caller, new: pb.AddressGroup, old: pb.AddressGroup, txn: Transaction) -> None:
        new.spec.shared = old.spec.shared
        new.spec.addresses[:] = _checked(new.spec.addresses)

    async def delete(self, id_: str, caller: Caller) -> pb.AddressGroup:
        return await self.remove(id_, caller, AddressGroupRemoval())

    # -- addresses that come and go

    async def AddAddresses(self, request: pb.AddAddressesRequest, caller: Caller) -> pb.AddressGroup:
        asked = _checked(request.addresses)

        def more(group: pb.AddressGroup) -> list[str]:
            if known := [text for text in asked if text in group.spec.addresses]:
                raise InvalidArgument(
                    f"Addresses {', '.join(known)} already exist in the address group {group.meta.id}.",
                    reason="ADDRESSES_ALREADY_EXIST",
                    field="addresses",
                )
            return _checked([*group.spec.addresses, *asked])

        return await self._readdress(request.id, caller, more)

    async def RemoveAddresses(self, request: pb.RemoveAddressesRequest, caller: Caller) -> pb.AddressGroup:
        asked = [str(address.network(text, "addresses")) for text in request.addresses]

        def less(group: pb.AddressGroup) -> list[str]:
            if unknown := [text for text in asked if text not in group.spec.addresses]:
                raise NotFound(
                    f"Addresses {', '.join(unknown)} not found in the address group {group.meta.id}.",
                    reason="ADDRESSES_NOT_FOUND",
                    field="addresses",
                )
            return [text for text in group.spec.addresses if text not in asked]

        return await self._readdress(request.id, caller, less)

    @again
    async def _readdress(
        self, id_: str, caller: Caller, change: Callable[[pb.AddressGroup], list[str]]
    ) -> pb.AddressGroup:
        old = self.find(id_, caller)
        self.enforce("update", caller, old)
        new = copy_of(old)
        new.spec.addresses[:] = change(old)
        async with self.store.transaction() as txn:
            txn.update(ADDRESS_GROUPS, new)
        return self.present(caller, self.kept(new))


def name_it(store: Store, caller: Caller, txn: Transaction, id_: str, project_id: str) -> None:
    """A rule of the project names the group: it is there after the transaction. Raises NotFound."""
    group = store.find(ADDRESS_GROUPS, id_)
    if group is not None and not group.meta.HasField("delete_time"):
        own = group.meta.project_id == caller.project_id or caller.is_admin
        if own or grant(store, id_, caller.project_id) is not None:
            txn.expect(ADDRESS_GROUPS, group)
            rely(store, txn, id_, group.meta.project_id, project_id)
            return
    raise NotFound(
        f"Address group {id_} could not be found.",
        reason="ADDRESS_GROUP_NOT_FOUND",
        field="remote_address_group_id",
    )


def _checked(addresses: Iterable[str]) -> list[str]:
    """In their usual form, each once. Raises InvalidArgument."""
    found: dict[str, None] = {}
    for text in addresses:
        if "/" not in text:
            raise address.invalid(f"'{text}' is not a valid IP subnet in CIDR notation", "addresses")
        found[str(address.network(text, "addresses"))] = None
    if len(found) > MAX_ADDRESSES:
        raise address.invalid(f"an address group has at most {MAX_ADDRESSES} addresses", "addresses")
    return list(found)
