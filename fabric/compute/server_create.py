"""What CreateServer checks and fills in before a server is recorded."""

import base64
import binascii
import re
import uuid
from collections.abc import Mapping, Sequence

from fabric.compute.aggregate import zones
from fabric.compute.candidate import Ask
from fabric.compute.collection import FLAVORS, KEYPAIRS, SERVER_GROUPS
from fabric.compute.demand import GIB
from fabric.compute.filters import checks
from fabric.compute.high_availability import project_wants_it
from fabric.compute.image_source import image_ref
from fabric.compute.quota import check_user
from fabric.compute.server import LIFECYCLE, SERVERS, charges
from fabric.compute.v1 import flavor_pb2
from fabric.compute.v1 import server_pb2 as pb
from fabric.image.v1 import image_pb2, image_pb2_grpc
from fabric.network.v1 import (
    auto_allocated_topology_pb2,
    auto_allocated_topology_pb2_grpc,
    network_pb2,
    network_pb2_grpc,
    port_pb2,
    port_pb2_grpc,
    security_group_pb2,
    security_group_pb2_grpc,
)
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client
from fabric.runtime.errors import (
    Exhausted,
    FabricError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
)
from fabric.runtime.store import UNLIMITED, Store
from fabric.type.v1.query_pb2 import Filter, Query

MOST_AT_ONCE = 500  # what fits into one transaction
MOST_USER_DATA = 65535  # bytes of its base64 form
_UNFIT = re.compile(r"[^a-z0-9-]+")


class ServerCreation:
    """Turns a request into records that can be placed. Everything is looked up in the caller's name."""

    def __init__(self, store: Store, client: Client) -> None:
        self._store = store
        self._client = client

    async def accept(self, request: pb.CreateServerRequest, caller: Caller) -> list[pb.Server]:
        """The records to make. Raises InvalidArgument, NotFound, FailedPrecondition."""
        template = pb.Server()
        template.CopyFrom(request.server)
        spec = template.spec
        limit = self._store.quota(caller.project_id, "compute.metadata_items").limit
        check_plain(template, limit)
        self._fill_flavor(spec, request.flavor_id, caller)
        spec.image.CopyFrom(await self.image(request.image_id, spec.flavor, caller))
        self.fill_key(spec, caller)
        self._check_placing(template)
        await self._fill_groups(spec, caller)
        count = self._count(request, spec, caller)
        if count > 1 and any(asked.port_id or asked.fixed_ip for asked in spec.networks):
            raise InvalidArgument(
                "Only one server can be made with a given port or address.", field="max_count"
            )
        await self._fill_networks(spec, caller)
        spec.reservation_id = spec.reservation_id or f"r-{uuid.uuid4().hex[:8]}"
        spec.power, spec.power_generation = pb.ServerSpec.POWER_RUNNING, 1
        spec.user_id = caller.user_id
        spec.high_availability = await project_wants_it(self._client, caller.project_id)
        template.meta.project_id = caller.project_id
        template.meta.request_id = caller.request_id
        template.meta.finalizers[:] = [LIFECYCLE]
        self._check_group(spec, caller, count)
        made = [self._copy(template, index, count) for index in range(count)]
        check_user(self._store, made, caller.user_id)
        return made

    def _count(self, request: pb.CreateServerRequest, spec: pb.ServerSpec, caller: Caller) -> int:
        """As many as the quota allows, from min_count to max_count. Raises QuotaExceeded."""
        lowest, most = max(1, request.min_count), max(1, request.min_count, request.max_count)
        if most == 1:
            return 1
        if lowest > MOST_AT_ONCE:
            raise InvalidArgument(f"At most {MOST_AT_ONCE} servers are made at once.", field="min_count")
        most = min(most, MOST_AT_ONCE)
        one = pb.Server(spec=spec)
        for resource, amount in charges(one).items():
            quota = self._store.quota(caller.project_id, str(resource))
            if quota.limit != UNLIMITED and amount:
                most = min(most, max(lowest, (quota.limit - quota.usage) // amount))
        return most

    def _check_placing(self, template: pb.Server) -> None:
        """The zone and the node that are named exist, and the hints say something."""
        spec = template.spec
        is_placed = spec.availability_zone or spec.forced_node or spec.requested_node
        known = zones(self._store) if is_placed else {}
        if spec.availability_zone and spec.availability_zone not in known.values():
            raise InvalidArgument(
                "The requested availability zone is not available",
                reason="AVAILABILITY_ZONE_NOT_FOUND",
                field="availability_zone",
            )
        for node in (spec.forced_node, spec.requested_node):
            if node and node not in known:
                raise InvalidArgument(
                    f"Compute host {node} could not be found.", reason="COMPUTE_HOST_NOT_FOUND", field="host"
                )
        checks(Ask(template))

    def _check_group(self, spec: pb.ServerSpec, caller: Caller, count: int) -> None:
        """The server group exists and has room."""
        group_id_ = spec.scheduler_hints.get("group", "")
        if not group_id_:
            return
        group = self._store.find(SERVER_GROUPS, group_id_)
        if group is None or not (caller.is_admin or group.meta.project_id == caller.project_id):
            raise InvalidArgument(
                f"Instance group {group_id_} could not be found.",
                reason="SERVER_GROUP_NOT_FOUND",
                field="group",
            )
        limit = self._store.quota(caller.project_id, "compute.server_group_members").limit
        members = self._store.table(SERVERS).count("group", group_id_)
        if limit != UNLIMITED and members + count > limit:
            raise QuotaExceeded(
                "Quota exceeded, too many servers in group",
                resource="compute.server_group_members",
                limit=limit,
            )

    def _copy(self, template: pb.Server, index: int, count: int) -> pb.Server:
        server = pb.Server()
        server.CopyFrom(template)
        server.meta.id = str(uuid.uuid4())
        server.spec.launch_index = index
        if count > 1:
            server.meta.name = f"{template.meta.name}-{index + 1}"
        server.spec.hostname = template.spec.hostname or hostname(server.meta.name, server.meta.id)
        for asked in server.spec.networks:
            if not asked.port_id:
                asked.port_id, asked.owned = str(uuid.uuid4()), True
        return server

    def _fill_flavor(self, spec: pb.ServerSpec, flavor_id: str, caller: Caller) -> None:
        flavor = self._store.find(FLAVORS, flavor_id)
        if flavor is None or not (
            flavor.spec.public or caller.is_admin or caller.project_id in flavor.spec.access_project_ids
        ):
            raise InvalidArgument(
                f"Flavor {flavor_id} could not be found.", reason="FLAVOR_NOT_FOUND", field="flavorRef"
            )
        spec.flavor.CopyFrom(flavor_copy(flavor))

    async def image(self, image_id: str, flavor: pb.FlavorCopy, caller: Caller) -> pb.ImageRef:
        """The image, if a server of the flavor can boot from it. Raises InvalidArgument."""
        if not image_id:
            raise InvalidArgument(
                "Invalid imageRef provided: a server boots from an image.", field="imageRef"
            )
        try:
            image: image_pb2.Image = await self._client.call(
                image_pb2_grpc.ImageServiceStub, "GetImage", image_pb2.GetImageRequest(id=image_id), caller
            )
        except NotFound as error:
            raise InvalidArgument(
                f"Image {image_id} could not be found.", reason="IMAGE_NOT_FOUND", field="imageRef"
            ) from error
        if image.view.status != image_pb2.ImageView.STATUS_ACTIVE:
            raise InvalidArgument(
                f"Image {image_id} is not active.", reason="IMAGE_NOT_ACTIVE", field="imageRef"
            )
        if flavor.ram_mib < image.spec.min_ram_mib:
            raise InvalidArgument("Flavor's memory is too small for requested image.", field="flavorRef")
        needed_gb = max(image.spec.min_disk_gb, -(-image.view.virtual_size_bytes // GIB))
        if flavor.root_gb and flavor.root_gb < needed_gb:
            raise InvalidArgument(
                f"Flavor's disk is too small for requested image. Flavor disk is {flavor.root_gb} GB, "
                f"the image needs {needed_gb} GB.",
                field="flavorRef",
            )
        return image_ref(image)

    def fill_key(self, spec: pb.ServerSpec, caller: Caller) -> None:
        """The public key that is named. Raises InvalidArgument."""
        if not spec.key_name:
            return
        keypair = self._store.find(KEYPAIRS, f"{caller.user_id}:{spec.key_name}")
        if keypair is None:
            raise InvalidArgument("Invalid key_name provided.", field="key_name")
        spec.public_key, spec.key_type = keypair.public_key, keypair.type

    async def _fill_groups(self, spec: pb.ServerSpec, caller: Caller) -> None:
        """Names and ids to ids; the default group alone is what ports get anyway."""
        asked = list(dict.fromkeys(spec.security_groups))
        del spec.security_groups[:]
        if not asked or asked == ["default"]:
            return
        reply = await self._client.call(
            security_group_pb2_grpc.SecurityGroupServiceStub,
            "ListSecurityGroups",
            security_group_pb2.ListSecurityGroupsRequest(),
            caller,
        )
        for name in asked:
            spec.security_groups.append(group_id(list(reply.security_groups), name))

    async def _fill_networks(self, spec: pb.ServerSpec, caller: Caller) -> None:
        if spec.auto_networks or (not spec.networks and not spec.no_networks):
            await self._fill_only_network(spec, caller)
        for asked in spec.networks:
            if asked.port_id:
                await self._check_port(asked, caller)
            else:
                await self._check_network(asked.network_id, caller)
        ports = [asked.port_id for asked in spec.networks if asked.port_id]
        if len(set(ports)) < len(ports):
            raise InvalidArgument("A port is named twice.", field="networks")

    async def _fill_only_network(self, spec: pb.ServerSpec, caller: Caller) -> None:
        reply = await self._client.call(
            network_pb2_grpc.NetworkServiceStub,
            "ListNetworks",
            network_pb2.ListNetworksRequest(
                query=Query(filters=[Filter(path="spec.external", values=["false"])])
            ),
            caller,
        )
        own = [n for n in reply.networks if n.meta.project_id == caller.project_id]
        usable = [n for n in own or reply.networks if n.spec.admin_state_up and n.status.subnet_ids]
        if len(usable) > 1:
            raise FailedPrecondition(
                "Multiple possible networks found, use a Network ID to be more specific.",
                reason="NETWORK_AMBIGUOUS",
            )
        if usable:
            spec.networks.add(network_id=usable[0].meta.id)
        elif spec.auto_networks:
            spec.networks.add(network_id=await self._automatic_network(caller))

    async def _automatic_network(self, caller: Caller) -> str:
        """The network that the project has, or is given, without having asked for more than that."""
        try:
            made = await self._client.call(
                auto_allocated_topology_pb2_grpc.AutoAllocatedTopologyServiceStub,
                "GetAutoAllocatedTopology",
                auto_allocated_topology_pb2.GetAutoAllocatedTopologyRequest(),
                caller,
            )
        except FabricError as error:
            raise InvalidArgument(
                f"Unable to automatically allocate a network for this project: {error.message}",
                field="networks",
            ) from error
        return str(made.network_id)

    async def _check_network(self, network_id: str, caller: Caller) -> None:
        try:
            network = await self._client.call(
                network_pb2_grpc.NetworkServiceStub,
                "GetNetwork",
                network_pb2.GetNetworkRequest(id=network_id),
                caller,
            )
        except NotFound as error:
            raise InvalidArgument(
                f"Network {network_id} could not be found.", reason="NETWORK_NOT_FOUND", field="networks"
            ) from error
        if network.spec.external and not network.spec.shared and not caller.is_admin:
            raise PermissionDenied(
                f"It is not allowed to create an interface on external network {network_id}",
                reason="EXTERNAL_NETWORK_ATTACH_FORBIDDEN",
            )
        if not network.status.subnet_ids:
            raise InvalidArgument(
                f"Network {network_id} requires a subnet in order to boot instances on.", field="networks"
            )

    async def _check_port(self, asked: pb.NicRequest, caller: Caller) -> None:
        try:
            port: port_pb2.Port = await self._client.call(
                port_pb2_grpc.PortServiceStub, "GetPort", port_pb2.GetPortRequest(id=asked.port_id), caller
            )
        except NotFound as error:
            raise InvalidArgument(
                f"Port {asked.port_id} could not be found.", reason="PORT_NOT_FOUND", field="networks"
            ) from error
        if port.spec.device_id:
            raise FailedPrecondition(
                f"Port {asked.port_id} is still in use.", reason="PORT_IN_USE", id=asked.port_id
            )
        if not port.spec.fixed_ips and not port.spec.addresses_deferred:
            raise InvalidArgument(
                f"Port {asked.port_id} requires a FixedIP in order to be used.", field="networks"
            )
        asked.network_id = port.spec.network_id


def flavor_copy(flavor: flavor_pb2.Flavor) -> pb.FlavorCopy:
    """What a server remembers of its flavor."""
    spec = flavor.spec
    return pb.FlavorCopy(
        id=flavor.meta.id,
        name=flavor.meta.name,
        vcpus=spec.vcpus,
        ram_mib=spec.ram_mib,
        root_gb=spec.root_gb,
        ephemeral_gb=spec.ephemeral_gb,
        swap_mib=spec.swap_mib,
        extra_specs=spec.extra_specs,
    )


def group_id(groups: Sequence[security_group_pb2.SecurityGroup], name: str) -> str:
    """The id of the group with this id or name. Raises InvalidArgument."""
    for group in groups:
        if group.meta.id == name:
            return group.meta.id
    named = [group for group in groups if group.meta.name == name]
    if not named:
        raise InvalidArgument(
            f"Security group {name} not found.", reason="SECURITY_GROUP_NOT_FOUND", field="security_groups"
        )
    if len(named) > 1:
        raise FailedPrecondition(
            f"Multiple security_groups found matching name '{name}'. Use an ID to be more specific.",
            reason="NO_UNIQUE_MATCH",
        )
    return named[0].meta.id


def hostname(name: str, server_id: str) -> str:
    """A host name made of the server's name (RFC 1123)."""
    fit = _UNFIT.sub("-", name.lower().replace("_", "-").replace(" ", "-").replace(".", "-")).strip("-")[:63]
    return fit.strip("-") or f"server-{server_id}"


def check_metadata(metadata: Mapping[str, str], limit: int) -> None:
    """Raise Exhausted for more items than the project may give a server."""
    if limit != UNLIMITED and len(metadata) > limit:
        raise Exhausted(
            f"Maximum number of metadata items exceeds {limit}",
            reason="METADATA_LIMIT_EXCEEDED",
            field="metadata",
        )


def check_plain(server: pb.Server, metadata_limit: int) -> None:
    """Raise InvalidArgument, Exhausted for what needs no look-up."""
    spec = server.spec
    if not 0 < len(server.meta.name.strip()) <= 255:
        raise InvalidArgument("A server's name has 1 to 255 characters.", field="name")
    check_metadata(spec.metadata, metadata_limit)
    check_user_data(spec.user_data)


def check_user_data(text: str) -> None:
    """Raise InvalidArgument unless it is base64 and not too long."""
    if len(text) > MOST_USER_DATA:
        raise InvalidArgument(f"User data is longer than {MOST_USER_DATA} bytes.", field="user_data")
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise InvalidArgument("User data must be Base64 encoded.", field="user_data") from error
