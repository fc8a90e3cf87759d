"""Routers: what they may be, their gateways, interfaces and routes."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network import flavor, qos_policy, router_interface, router_placing
from fabric.network.agent import DEFAULT_ZONE
from fabric.network.collection import AGENTS, INTERFACE_OWNER, ROUTERS, agent_id
from fabric.network.grant import EXTERNAL, rely
from fabric.network.network import check_zones
from fabric.network.own_port import Plug, Plugs
from fabric.network.port import Ports
from fabric.network.record import NetworkResource, is_external
from fabric.network.router_gateway import Networks, differs, named, pair, set_gateways, shown
from fabric.network.router_link import bad, check_routes, ports_of
from fabric.network.subnet import Subnets
from fabric.network.v1 import network_pb2, subnet_pb2
from fabric.network.v1 import router_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.config import Config
from fabric.runtime.errors import FailedPrecondition, InvalidArgument, NotFound, StaleRevision
from fabric.runtime.policy import Policy
from fabric.runtime.resource import copy_of, merge
from fabric.runtime.store import Store

Change = pb.ChangeRouterPartsRequest
_GATEWAYS = "spec.external_gateways"
_KINDS = ("spec.distributed", "spec.ha", "spec.enable_default_route_ecmp")  # an administrator's to say


class Routers(NetworkResource[pb.Router]):
    """The rules of routers. Whatever changes what a router leads to writes the router, so all is in one order."""

    collection = ROUTERS
    policies = {
        "create": "create_router",
        "get": "get_router",
        "list": "get_availability_zone",
        "update": "update_router",
        "delete": "delete_router",
    }
    narrow = {"meta.id": "id", "meta.project_id": "project", "meta.name": "name", "node": "node"}

    def __init__(
        self, store: Store, policy: Policy, config: Config, plugs: Plugs, ports: Ports, subnets: Subnets
    ) -> None:
        super().__init__(store, policy)
        self._zone = config.node.availability_zone
        self._plugs, self._ports, self._subnets = plugs, ports, subnets
        self._qos = qos_policy.QosPolicies(store, policy)

    def present(self, caller: Caller, message: pb.Router) -> pb.Router:
        full = copy_of(message)
        gateways = [shown(self.store, gateway) for gateway in message.spec.external_gateways]
        del full.spec.external_gateways[:]
        full.spec.external_gateways.extend(gateways)
        if full.status.state == pb.RouterStatus.STATE_UNSPECIFIED:
            full.status.state = pb.RouterStatus.STATE_BUILDING
        agent = self.store.find(AGENTS, agent_id(message.node)) if message.node else None
        if agent is not None:
            full.status.availability_zones.append(agent.spec.availability_zone or DEFAULT_ZONE)
        return full

    # -- create, update, delete

    async def make(self, message: pb.Router, given: FieldMask, caller: Caller) -> pb.Router:
        paths = frozenset(given.paths)

        def work(plug: Plug) -> pb.Router:
            new = copy_of(message)
            self.name_it(caller, new)
            self.enforce("create", caller, new)
            for name in ("status", "node", "parked"):
                new.ClearField(name)
            if "spec.admin_state_up" not in paths:
                new.spec.admin_state_up = True
            if "spec.ha" not in paths:
                new.spec.ha = True
            self._check_kind(caller, new, paths, "create")
            if new.spec.flavor_id:
                flavor.choose(self.store, new.spec.flavor_id, plug.txn)
            check_zones(self.store, self._zone, new.spec.availability_zone_hints)
            asked = list(new.spec.external_gateways)
            del new.spec.external_gateways[:]
            self._gateways(caller, plug, new, asked, "create")
            check_routes(new.spec.routes, ports_of(self.store, new.meta.id), self.store)
            plug.txn.create(ROUTERS, new)
            return new

        made = await self._plugs.settle(f"routers of {message.meta.project_id or caller.project_id}", work)
        return self.present(caller, self.kept(made))

    async def update(self, message: pb.Router, mask: FieldMask, caller: Caller) -> pb.Router:
        def change(plug: Plug, new: pb.Router, old: pb.Router) -> None:
            merge(message, new, mask)
            if message.meta.etag and message.meta.etag != old.meta.etag:
                raise StaleRevision("The resource was changed in the meantime.", id=message.meta.id)
            self._check_kind(caller, new, mask.paths, "update")
            if _GATEWAYS in mask.paths:
                asked = list(new.spec.external_gateways)
                del new.spec.external_gateways[:]
                new.spec.external_gateways.extend(old.spec.external_gateways)
                self._gateways(caller, plug, new, asked, "update")
            if "spec.routes" in mask.paths:
                check_routes(new.spec.routes, ports_of(self.store, new.meta.id), self.store)

        return await self._changed(message.meta.id, caller, "update_router", change)

    async def delete(self, id_: str, caller: Caller) -> pb.Router:
        def work(plug: Plug) -> pb.Router:
            old = self.find(id_, caller)
            self.enforce("delete", caller, old)
            if ports_of(self.store, id_, INTERFACE_OWNER):
                raise FailedPrecondition(f"Router {id_} still has ports", reason="ROUTER_IN_USE")
            bare = copy_of(old)
            del bare.spec.routes[:]  # they go along
            set_gateways(plug, bare, [], {})
            plug.txn.delete(ROUTERS, old)
            return old

        return await self._plugs.settle(f"router {id_}", work)

    async def _changed(
        self,
        id_: str,
        caller: Caller,
        rule: str,
        change: Callable[[Plug, pb.Router, pb.Router], None],
    ) -> pb.Router:
        """The router after a change to a copy of it."""

        def work(plug: Plug) -> pb.Router:
            old = self.find(id_, caller)
            self.policy.enforce(caller, rule, self.target(old))
            new = copy_of(old)
            change(plug, new, old)
            new.meta.request_id = caller.request_id
            plug.txn.update(ROUTERS, new)
            return new

        new = await self._plugs.settle(f"router {id_}", work)
        return self.present(caller, self.kept(new))

    # -- gateways and routes

    async def ChangeRouterParts(self, request: Change, caller: Caller) -> pb.Router:
        adds = request.change == Change.CHANGE_ADD
        if request.change == Change.CHANGE_UNSPECIFIED or (
            request.change == Change.CHANGE_UPDATE and request.routes
        ):
            raise InvalidArgument("Routes are added and removed.", field="change")

        def change(plug: Plug, new: pb.Router, old: pb.Router) -> None:
            if request.routes or not request.external_gateways:
                kept = changed_routes(new.spec.routes, request.routes, adds=adds)
                del new.spec.routes[:]
                new.spec.routes.extend(kept)
                check_routes(new.spec.routes, ports_of(self.store, new.meta.id), self.store)
            if request.external_gateways:
                had = [shown(self.store, gateway) for gateway in old.spec.external_gateways]
                asked = changed_gateways(had, request.external_gateways, request.change)
                self._gateways(caller, plug, new, asked, "update")

        verb = Change.Change.Name(request.change).removeprefix("CHANGE_").lower()
        part = "external_gateways" if request.external_gateways else "extraroutes"
        return await self._changed(request.id, caller, f"{verb}_{part}", change)

    def _gateways(
        self,
        caller: Caller,
        plug: Plug,
        router: pb.Router,
        asked: Sequence[pb.ExternalGateway],
        verb: str,
    ) -> None:
        had = [shown(self.store, gateway) for gateway in router.spec.external_gateways]
        networks: Networks = {}
        for gateway in asked:
            on = networks[gateway.network_id] = self._external(caller, gateway.network_id)
            rely(self.store, plug.txn, on.meta.id, on.meta.project_id, router.meta.project_id, EXTERNAL)
        self.require(caller, router, (f"{verb}_router:{rule}" for rule in gateway_rules(asked, had)))
        for gateway, old in pair(asked, had):
            before = old.qos_policy_id if old is not None else ""
            qos_policy.name(self._qos, caller, router, before, gateway.qos_policy_id, plug.txn)
        set_gateways(plug, router, asked, networks)

    def _external(self, caller: Caller, network_id: str) -> network_pb2.Network:
        found = self.network(caller, network_id)
        if not is_external(self.store, caller, found):
            raise bad(f"Network {network_id} is not an external network", "external_gateway_info")
        return found

    def _check_kind(self, caller: Caller, new: pb.Router, paths: Collection[str], verb: str) -> None:
        rules = [path.removeprefix("spec.") for path in _KINDS if path in paths]
        self.require(caller, new, (f"{verb}_router:{rule}" for rule in rules))
        if new.spec.distributed:
            raise InvalidArgument(
                "Invalid input for operation: a router lives on one node; distributed routers are not offered.",
                reason="INVALID_INPUT",
                field="distributed",
            )

    # -- interfaces

    async def AddRouterInterface(
        self, request: pb.AddRouterInterfaceRequest, caller: Caller
    ) -> pb.RouterInterface:
        _one_of(request.subnet_id, request.port_id)

        def add(plug: Plug, router: pb.Router) -> pb.RouterInterface:
            if request.port_id:
                port = self._ports.find(request.port_id, caller)
                return router_interface.add_port(plug, router, port)
            return router_interface.add_subnet(plug, router, self._usable(caller, request.subnet_id))

        return await self._interface(request.id, caller, "add_router_interface", add)

    async def RemoveRouterInterface(
        self, request: pb.RemoveRouterInterfaceRequest, caller: Caller
    ) -> pb.RouterInterface:
        if not request.subnet_id and not request.port_id:
            raise bad("Either subnet_id or port_id must be specified", "subnet_id")

        def remove(plug: Plug, router: pb.Router) -> pb.RouterInterface:
            return router_interface.remove(plug, router, request.subnet_id, request.port_id)

        return await self._interface(request.id, caller, "remove_router_interface", remove)

    def _usable(self, caller: Caller, subnet_id: str) -> subnet_pb2.Subnet:
        """A subnet of the caller's or of a shared network: to see an external one is not enough."""
        subnet = self._subnets.find(subnet_id, caller)
        target = self._subnets.target_for(caller, subnet)
        own = caller.project_id in (target["project_id"], target["network:project_id"])
        if not (own or target["shared"] or caller.is_admin):
            raise self._subnets.missing(subnet_id)
        return subnet

    async def _interface(
        self,
        id_: str,
        caller: Caller,
        rule: str,
        change: Callable[[Plug, pb.Router], pb.RouterInterface],
    ) -> pb.RouterInterface:
        def work(plug: Plug) -> pb.RouterInterface:
            router = self.find(id_, caller)
            self.policy.enforce(caller, rule, self.target(router))
            newer = copy_of(router)
            newer.meta.generation += 1  # what it leads to is part of what it is
            changed = change(plug, router)
            plug.txn.update(ROUTERS, newer)
            return changed

        return await self._plugs.settle(f"router {id_}", work)

    # -- placing, as an administrator says

    async def PlaceRouter(self, request: pb.PlaceRouterRequest, caller: Caller) -> pb.Router:
        rule = "delete_l3-router" if request.away else "create_l3-router"
        self.policy.enforce(caller, rule, {})

        def work(plug: Plug) -> pb.Router:
            router = self.find(request.id, caller)
            if request.away:
                if router.node != request.node:
                    raise FailedPrecondition(
                        f"The router {request.id} is not hosted by L3 agent {agent_id(request.node)}.",
                        reason="ROUTER_NOT_HOSTED_BY_L3_AGENT",
                    )
                router_placing.move(plug.txn, self.store, router, "", parked=True)
                return router
            possible = router_placing.possible(self.store, router)
            if all(place.node != request.node for place in possible):
                raise FailedPrecondition(
                    f"The L3 agent {agent_id(request.node)} cannot host the router {request.id}: it is down, disabled "
                    "or without a physical network that the router needs.",
                    reason="INVALID_L3_AGENT",
                )
            if router.node != request.node:
                router_placing.move(plug.txn, self.store, router, request.node)
            return router

        moved = await self._plugs.settle(f"router {request.id}", work)
        return self.present(caller, self.kept(moved))


def gateway_rules(asked: Sequence[pb.ExternalGateway], had: Sequence[pb.ExternalGateway]) -> Iterable[str]:
    """What the caller must be allowed: more than the network only where he wants it otherwise than it is."""
    yield "external_gateway_info"
    for gateway in asked:
        old = named(gateway, had)
        if old is None:
            yield "external_gateway_info:network_id"
        if not gateway.enable_snat and (old is None or old.enable_snat):
            yield "external_gateway_info:enable_snat"
        if gateway.external_fixed_ips and (old is None or differs(gateway, old)):
            yield "external_gateway_info:external_fixed_ips"


def changed_routes(had: Iterable[Any], asked: Iterable[Any], *, adds: bool) -> list[Any]:
    """Adding what is there, and removing what is not, changes nothing."""
    routes = {(route.destination, route.nexthop): copy_of(route) for route in had}
    for route in asked:
        key = (route.destination, route.nexthop)
        if adds:
            routes.setdefault(key, copy_of(route))
        else:
            routes.pop(key, None)
    return list(routes.values())


def changed_gateways(
    had: Sequence[pb.ExternalGateway], asked: Sequence[pb.ExternalGateway], change: int
) -> list[pb.ExternalGateway]:
    """All gateways after the change. Raises NotFound: one that is to be removed is not there.

    An update that names a network on which there is none moves the first gateway there when it is first itself
    (that is how `openstack router set --external-gateway` speaks), and adds it when it is not.
    """
    if change == Change.CHANGE_ADD:
        return [*had, *asked]
    kept = list(had)
    for gateway in asked:
        found = named(gateway, kept)
        if found is None and change == Change.CHANGE_UPDATE:
            if gateway is asked[0] and kept and named(kept[0], asked) is None:
                kept[0] = gateway
            else:
                kept.append(gateway)
            continue
        if found is None:
            raise NotFound(
                f"The router has no external gateway to network {gateway.network_id} with these addresses.",
                reason="EXTERNAL_GATEWAY_NOT_FOUND",
            )
        at = kept.index(found)
        kept[at : at + 1] = [gateway] if change == Change.CHANGE_UPDATE else []
    return kept


def _one_of(subnet_id: str, port_id: str) -> None:
    if not subnet_id and not port_id:
        raise bad("Either subnet_id or port_id must be specified", "subnet_id")
    if subnet_id and port_id:
        raise bad("Cannot specify both subnet-id and port-id", "subnet_id")
