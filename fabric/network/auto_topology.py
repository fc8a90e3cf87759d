"""A project's automatic network, with subnets and a router: made when it is first asked for."""

import uuid
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from fabric.network.collection import (
    DHCP_OWNER,
    NETWORKS,
    PORTS,
    ROUTERS,
    SUBNET_POOLS,
    TOPOLOGIES,
    marked,
)
from fabric.network.network import Networks
from fabric.network.record import NetworkResource
from fabric.network.router import Routers
from fabric.network.subnet import Subnets
from fabric.network.v1 import auto_allocated_topology_pb2 as pb
from fabric.network.v1 import network_pb2, router_pb2, subnet_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, FabricError, FailedPrecondition
from fabric.runtime.policy import Policy
from fabric.runtime.store import Store

NAME = "auto_allocated"


class AutoAllocatedTopologies:
    """The methods of AutoAllocatedTopologyService.

    The record names all parts before they are made: who comes second, or after a controller was killed, makes what
    is missing of the same ones.
    """

    def __init__(
        self, store: Store, policy: Policy, networks: Networks, subnets: Subnets, routers: Routers
    ) -> None:
        self._store = store
        self._policy = policy
        self._networks, self._subnets, self._routers = networks, subnets, routers

    async def GetAutoAllocatedTopology(
        self, request: pb.GetAutoAllocatedTopologyRequest, caller: Caller
    ) -> pb.AutoAllocatedTopology:
        project_id = request.project_id or caller.project_id
        self._policy.enforce(caller, "get_auto_allocated_topology", {"project_id": project_id})
        self._requirements()
        if request.dry_run:
            found = pb.AutoAllocatedTopology()
            found.meta.id = found.meta.project_id = project_id
            return found
        async with self._store.lock(f"auto-allocated topology {project_id}"):
            found = self._present(project_id) or await self._begin(project_id)
            try:
                await self._complete(found, caller)
            except FabricError:
                await self._remove(found, caller)
                raise
        return found

    async def DeleteAutoAllocatedTopology(
        self, request: pb.DeleteAutoAllocatedTopologyRequest, caller: Caller
    ) -> pb.AutoAllocatedTopology:
        project_id = request.project_id or caller.project_id
        self._policy.enforce(caller, "delete_auto_allocated_topology", {"project_id": project_id})
        async with self._store.lock(f"auto-allocated topology {project_id}"):
            found: pb.AutoAllocatedTopology | None = self._store.find(TOPOLOGIES, project_id)
            if found is None:
                return pb.AutoAllocatedTopology()
            self._check_unused(found)
            await self._remove(found, caller)
            return found

    def _requirements(self) -> tuple[str, list[int]]:
        """The external network, and the IP versions that have a default pool. Raises FailedPrecondition."""
        external = self._store.owner(NETWORKS, "default", "external")
        versions = [v for v in (4, 6) if self._store.owner(SUBNET_POOLS, "default", str(v))]
        missing = "router:external network" if external is None else "subnetpools" if not versions else ""
        if external is None or missing:
            raise FailedPrecondition(
                f"Deployment error: No default {missing}.", reason="AUTO_ALLOCATION_FAILURE"
            )
        return external, versions

    def _present(self, project_id: str) -> pb.AutoAllocatedTopology | None:
        """The record, unless its network or router was deleted."""
        found: pb.AutoAllocatedTopology | None = self._store.find(TOPOLOGIES, project_id)
        if found is None:
            return None
        parts: tuple[Any, ...] = (
            self._store.find(NETWORKS, found.network_id),
            self._store.find(ROUTERS, found.router_id),
        )
        return None if any(part is None or marked(part) for part in parts) else found

    async def _begin(self, project_id: str) -> pb.AutoAllocatedTopology:
        """A record that names new parts."""
        new = pb.AutoAllocatedTopology(network_id=str(uuid.uuid4()), router_id=str(uuid.uuid4()))
        new.meta.id = new.meta.project_id = project_id
        for version in (4, 6):
            new.subnet_ids[version] = str(uuid.uuid4())
        old: pb.AutoAllocatedTopology | None = self._store.find(TOPOLOGIES, project_id)
        async with self._store.transaction() as txn:
            if old is None:
                txn.create(TOPOLOGIES, new)
            else:
                new.meta.CopyFrom(old.meta)
                txn.update(TOPOLOGIES, new)
        return new

    # -- parts

    async def _complete(self, topology: pb.AutoAllocatedTopology, caller: Caller) -> None:
        external, versions = self._requirements()
        project_id = topology.meta.project_id
        network = network_pb2.Network()
        _call(network, topology.network_id, project_id, f"{NAME}_network")
        await self._ensure(self._networks, network, caller)
        for version in versions:
            await self._ensure(self._subnets, self._subnet(topology, version), caller)
        router = router_pb2.Router()
        _call(router, topology.router_id, project_id, f"{NAME}_router")
        router.spec.external_gateways.add(network_id=external, enable_snat=True)
        await self._ensure(self._routers, router, caller)
        for version in versions:
            subnet_id = topology.subnet_ids[version]
            if subnet_id not in self._connected(topology):
                asked = router_pb2.AddRouterInterfaceRequest(id=topology.router_id, subnet_id=subnet_id)
                await self._routers.AddRouterInterface(asked, caller)

    def _subnet(self, topology: pb.AutoAllocatedTopology, version: int) -> subnet_pb2.Subnet:
        subnet = subnet_pb2.Subnet()
        _call(subnet, topology.subnet_ids[version], topology.meta.project_id, f"{NAME}_subnet_v{version}")
        subnet.spec.network_id, subnet.spec.ip_version = topology.network_id, version
        subnet.spec.use_default_subnetpool = True
        pool = self._store.find(SUBNET_POOLS, self._store.owner(SUBNET_POOLS, "default", str(version)) or "")
        if version == 6 and pool is not None and pool.spec.default_prefixlen == 64:
            subnet.spec.ipv6_ra_mode = subnet.spec.ipv6_address_mode = "slaac"
        return subnet

    async def _ensure(self, resource: NetworkResource[Any], part: Any, caller: Caller) -> None:
        if self._store.find(resource.collection, part.meta.id) is not None:
            return
        try:
            await resource.make(part, FieldMask(), caller)
        except AlreadyExists as error:
            if error.facts.get("index") != "id":
                raise
            await self._store.fresh(None)  # another controller was asked too

    def _connected(self, topology: pb.AutoAllocatedTopology) -> dict[str, str]:
        """The ports of the router, by their subnets."""
        ports = self._store.table(PORTS).by("device", topology.router_id)
        return {fixed.subnet_id: port.meta.id for port in ports for fixed in port.spec.fixed_ips}

    # -- the end

    def _check_unused(self, topology: pb.AutoAllocatedTopology) -> None:
        ports = self._store.table(PORTS).by("network", topology.network_id)
        own = (DHCP_OWNER, topology.router_id)
        if any(not marked(p) and not {p.spec.device_owner, p.spec.device_id} & set(own) for p in ports):
            raise FailedPrecondition(
                f"Unable to complete operation on network {topology.network_id}. "
                "There are one or more ports still in use on the network.",
                reason="NETWORK_IN_USE",
                network=topology.network_id,
            )

    async def _remove(self, topology: pb.AutoAllocatedTopology, caller: Caller) -> None:
        """What is there of it."""
        router: Any = self._store.find(ROUTERS, topology.router_id)
        if router is not None and not marked(router):
            for subnet_id in topology.subnet_ids.values():
                if subnet_id in self._connected(topology):
                    asked = router_pb2.RemoveRouterInterfaceRequest(
                        id=topology.router_id, subnet_id=subnet_id
                    )
                    await self._routers.RemoveRouterInterface(asked, caller)
            await self._routers.delete(topology.router_id, caller)
        network = self._store.find(NETWORKS, topology.network_id)
        if network is not None and not marked(network):
            await self._networks.delete(topology.network_id, caller)
        record = self._store.find(TOPOLOGIES, topology.meta.id)
        if record is not None and record.network_id == topology.network_id:
            async with self._store.transaction() as txn:
                txn.remove(TOPOLOGIES, record)


def _call(part: Any, id_: str, project_id: str, name: str) -> None:
    part.meta.id, part.meta.project_id, part.meta.name = id_, project_id, name
    part.meta.tags.append(NAME)
