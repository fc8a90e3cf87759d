"""The methods of ServerService."""

import uuid
from collections.abc import Callable, Sequence

from fabric.compute import guest_password, instance_action, rescue, server_move, shelves
from fabric.compute import server as rules
from fabric.compute.guest_agents import GuestAgents
from fabric.compute.migration import MIGRATIONS
from fabric.compute.network_view import with_floating
from fabric.compute.nic import new_port
from fabric.compute.node import life
from fabric.compute.placing import Placing
from fabric.compute.rebuild import Rebuilds
from fabric.compute.server import SERVERS
from fabric.compute.server_create import ServerCreation, check_metadata
from fabric.compute.server_ports import PORT_ACTIONS, ServerPorts
from fabric.compute.snapshots import NAMES as SNAPSHOT_NAMES
from fabric.compute.snapshots import Snapshots
from fabric.compute.v1 import migration_pb2, node_pb2, node_pb2_grpc
from fabric.compute.v1 import server_pb2 as pb
from fabric.network.v1 import port_pb2, port_pb2_grpc
from fabric.runtime import query
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.client import Client, Clients
from fabric.runtime.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    QuotaExceeded,
    StaleRevision,
    Unavailable,
)
from fabric.runtime.order import InOrder
from fabric.runtime.policy import Policy
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Store, Transaction
from fabric.runtime.ticket import Signer
from fabric.type.v1.query_pb2 import Query

_API = "os_compute_api"
_CONSOLE_BYTES = 1 << 20
_CONSOLE_TICKET_S = 60.0

_RULES = {
    "start": "servers:start",
    "stop": "servers:stop",
    "reboot": "servers:reboot",
    "pause": "os-pause-server:pause",
    "unpause": "os-pause-server:unpause",
    "suspend": "os-suspend-server:suspend",
    "resume": "os-suspend-server:resume",
    "lock": "os-lock-server:lock",
    "unlock": "os-lock-server:unlock",
    "attach_port": "os-attach-interfaces:create",
    "detach_port": "os-attach-interfaces:delete",
    "add_security_group": "os-security-groups:add",
    "remove_security_group": "os-security-groups:remove",
    "add_fixed_ip": "os-multinic:add",
    "remove_fixed_ip": "os-multinic:remove",
    "reset_state": "os-admin-actions:reset_state",
    "migrate_live": "os-migrate-server:migrate_live",
    "migrate": "os-migrate-server:migrate",
    "resize": "servers:resize",
    "confirm_resize": "servers:confirm_resize",
    "revert_resize": "servers:revert_resize",
    "evacuate": "os-evacuate",
    "rebuild": "servers:rebuild",
    "clear_password": "os-server-password:clear",
    "create_image": "servers:create_image",
    "create_backup": "os-create-backup",
    "shelve": "os-shelve:shelve",
    "shelve_offload": "os-shelve:shelve_offload",
    "unshelve": "os-shelve:unshelve",
    "rescue": "os-rescue",
    "unrescue": "os-unrescue",
    "change_password": "os-admin-password",
}
_ACTION_NAMES = {"attach_port": "attach_interface", "detach_port": "detach_interface"}  # as Nova records them
_ACTION_NAMES |= {**server_move.NAMES, **shelves.NAMES}
_UNLOCKED = ("lock", "unlock", "create_image", "create_backup")  # also of a server that is locked
_POWER = ("start", "stop", "pause", "unpause", "suspend", "resume")


class Servers(Resource[pb.Server]):
    """Records what callers ask; the lifecycle loop and the node's agent make it so."""

    collection = SERVERS
    policies = {
        "create": f"{_API}:servers:create",
        "get": f"{_API}:servers:show",
        "list": f"{_API}:servers:index",
        "update": f"{_API}:servers:update",
        "delete": f"{_API}:servers:delete",
    }

    def __init__(
        self,
        store: Store,
        policy: Policy,
        client: Client,
        signer: Signer,
        agents: Clients,
        placing: Placing,
    ) -> None:
        super().__init__(store, policy)
        self._placing = placing
        self._client = client
        self._signer = signer
        self._agents = agents
        self._guests = GuestAgents(store, signer, agents)
        self._creation = ServerCreation(store, client)
        self._rebuilds = Rebuilds(store, self._creation)
        self._snapshots = Snapshots(store, client)
        self._ports = ServerPorts(client)

    async def CreateServer(self, request: pb.CreateServerRequest, caller: Caller) -> pb.CreateServerResponse:
        self.policy.enforce(caller, self.policies["create"], {"project_id": caller.project_id})
        if request.server.spec.forced_node:
            self.policy.enforce(caller, f"{_API}:servers:create:forced_host", {})
        if request.server.spec.requested_node:
            self.policy.enforce(caller, "compute:servers:create:requested_destination", {})
        if not caller.project_id:
            raise InvalidArgument("A server belongs to a project; the token has none.", field="project_id")
        made = await self._creation.accept(request, caller)
        if len(made) > 1 or not await self._create_placed(made[0], caller):
            async with self.store.transaction() as txn:
                self._create(txn, made, caller)
        return pb.CreateServerResponse(servers=[self.kept(server) for server in made])

    async def ListServers(self, request: pb.ListServersRequest, caller: Caller) -> pb.ListServersResponse:
        if request.query.all_projects:
            self.policy.enforce(caller, f"{_API}:servers:index:get_all_tenants", {})
        if caller.is_admin:
            if request.only_deleted:
                return pb.ListServersResponse()
            request.query.filters.extend(request.admin_filters)
        page, marker = await self.list(request.query, caller)
        return pb.ListServersResponse(servers=page, next_marker=marker)

    def in_order(self, caller: Caller, asked: Query) -> InOrder[pb.Server] | None:
        """All of the project, or of all projects."""
        everywhere = caller.is_admin and asked.all_projects
        if any(part.path in SERVERS.indexes for part in asked.filters):
            return None
        if not everywhere and not caller.project_id:
            return None
        return self.store.table(SERVERS).in_order("" if everywhere else caller.project_id)

    async def list(self, asked: Query, caller: Caller) -> tuple[list[pb.Server], str]:
        """As every resource, but newest first, and the policy is asked once for each project."""
        if not asked.sorts:
            asked.sorts.add(path="meta.create_time", descending=True)
            asked.sorts.add(path="meta.id", descending=True)
        self.enforce_list(caller)
        allowed = {caller.project_id: True}

        def visible(server: pb.Server) -> bool:
            project_id = server.meta.project_id
            if project_id not in allowed:
                allowed[project_id] = self.visible(caller, server)
            return allowed[project_id]

        messages = self.in_order(caller, asked) or self.candidates(caller, asked)
        page, marker = query.select(messages, asked, pb.Server, visible)
        return [self.present(caller, server) for server in page], marker

    def present(self, caller: Caller, message: pb.Server) -> pb.Server:
        return with_floating(self.store, message)

    def accept(self, caller: Caller, new: pb.Server, old: pb.Server | None, txn: Transaction) -> None:
        """Name, description, metadata, tags, addresses, host name and disk configuration may change."""
        assert old is not None
        if not 0 < len(new.meta.name.strip()) <= 255:
            raise InvalidArgument("A server's name has 1 to 255 characters.", field="name")
        check_metadata(
            new.spec.metadata, self.store.quota(old.meta.project_id, "compute.metadata_items").limit
        )
        if len(new.meta.tags) > 50:
            raise InvalidArgument("The number of tags exceeded the per-server limit 50", field="tags")
        allowed = copy_of(old)
        allowed.meta.CopyFrom(new.meta)
        for name in ("access_ipv4", "access_ipv6", "hostname", "disk_config"):
            setattr(allowed.spec, name, getattr(new.spec, name))
        allowed.spec.metadata.clear()
        allowed.spec.metadata.update(new.spec.metadata)
        if allowed != new:
            raise InvalidArgument("Only names, metadata, tags and addresses of a server may change.")

    def check_delete(self, caller: Caller, old: pb.Server, txn: Transaction) -> None:
        """A locked server is not deleted but by an administrator."""
        if old.meta.HasField("delete_time"):
            return
        rules.check_unlocked(old, override=caller.is_admin)
        instance_action.record(self.store, txn, old, "delete", caller)

    async def ActOnServer(self, request: pb.ActOnServerRequest, caller: Caller) -> pb.Server:
        action = request.WhichOneof("action")
        if action is None:
            raise InvalidArgument("No action is named.", field="action")
        server = self.find(request.id, caller)
        self.policy.enforce(caller, f"{_API}:{_RULES[action]}", self.target(server))
        if request.unshelve.node:
            self.policy.enforce(caller, f"{_API}:os-shelve:unshelve_to_host", self.target(server))
        if action not in _UNLOCKED:
            rules.check_unlocked(server, override=caller.is_admin)
        if action in SNAPSHOT_NAMES:
            return await self._snapshots.begin(server, action, getattr(request, action), caller)
        name = _ACTION_NAMES.get(action, action)
        if action == "attach_port":
            return await self._attach(server, request.attach_port, caller)
        if action == "rebuild":
            prepared = await self._rebuilds.prepare(server, request.rebuild, caller)
            return await self._change(server, name, caller, prepared)
        if action == "rescue":
            return await self._change(
                server, name, caller, await self._rescue(server, request.rescue, caller)
            )
        if action == "change_password":
            return await self._change_password(server, request.change_password.password, caller)
        if action in PORT_ACTIONS:
            await self._ports.act(server, request, caller)
            return server

        def change(changed: pb.Server) -> migration_pb2.Migration | None:
            if action in server_move.NAMES:
                return server_move.change(self.store, request, caller, changed)
            if action in shelves.NAMES:
                shelves.change(self.store, request, caller.request_id, changed)
            if action in _POWER:
                rules.change_power(changed, action)
            elif action == "reboot":
                rules.reboot(changed, hard=request.reboot.hard)
            elif action == "lock":
                changed.spec.locked, changed.spec.locked_reason = True, request.lock.reason
                changed.spec.locked_by_admin = caller.project_id != server.meta.project_id
            elif action == "unlock":
                self._check_unlock(server, caller)
                changed.spec.locked, changed.spec.locked_reason = False, ""
                changed.spec.locked_by_admin = False
            elif action == "reset_state":
                changed.spec.marked_error = request.reset_state.error
            elif action == "clear_password":
                guest_password.clear(changed)
            elif action == "unrescue":
                rules.unrescue(changed)
            elif action == "detach_port":
                _take_port(changed, request.detach_port.port_id)
            return None

        return await self._change(server, name, caller, change)

    async def GetConsoleOutput(
        self, request: pb.GetConsoleOutputRequest, caller: Caller
    ) -> pb.GetConsoleOutputResponse:
        server = self.find(request.id, caller)
        self.policy.enforce(caller, f"{_API}:os-console-output", self.target(server))
        agent = life(self.store, server.node)
        if agent is None:
            raise FailedPrecondition(
                f"Instance {request.id} is not ready", reason="INSTANCE_NOT_READY", id=request.id
            )
        ticket = self._signer.sign({"server": server.meta.id, "may": "console"}, _CONSOLE_TICKET_S)
        asked = node_pb2.ReadConsoleLogRequest(
            server_id=server.meta.id, max_bytes=_CONSOLE_BYTES, ticket=ticket
        )
        try:
            reply = await self._agents.at(agent.address).call(
                node_pb2_grpc.ComputeNodeServiceStub, "ReadConsoleLog", asked, caller, timeout_s=10
            )
        except (NotFound, Unavailable) as error:
            raise FailedPrecondition(
                f"Instance {request.id} is not ready", reason="INSTANCE_NOT_READY", id=request.id
            ) from error
        output = bytes(reply.output)
        if request.lines:
            output = b"\n".join(output.split(b"\n")[-request.lines :])
        return pb.GetConsoleOutputResponse(output=output)

    # -- helpers

    async def _change_password(self, server: pb.Server, password: str, caller: Caller) -> pb.Server:
        """It is the guest's before it is told, and in no record."""
        rules.check(server, "changePassword")
        await self._guests.set_password(server, password, caller)
        async with self.store.transaction() as txn:
            instance_action.record(self.store, txn, server, "changePassword", caller, done=True)
        return server

    def _create(self, txn: Transaction, made: Sequence[pb.Server], caller: Caller) -> None:
        for server in made:
            txn.create(SERVERS, server)
            instance_action.record(self.store, txn, server, "create", caller)

    async def _create_placed(self, server: pb.Server, caller: Caller) -> bool:
        """Write it on the best node at once. False: the lifecycle loop looks for one, as it does for groups."""
        if server.spec.scheduler_hints.get("group", ""):
            return False
        nodes = self._placing.choose(server).nodes
        if not nodes:
            return False
        try:
            async with self._placing.claim(server, nodes[0]) as txn:
                self._create(txn, [server], caller)
        except QuotaExceeded:
            # of the node, which filled up meanwhile, or of the project, which is told without it
            server.node, server.availability_zone = "", ""
            return False
        return True

    def _check_unlock(self, server: pb.Server, caller: Caller) -> None:
        """What an administrator locked, only an administrator unlocks."""
        if server.spec.locked_by_admin:
            rule = f"{_API}:os-lock-server:unlock:unlock_override"
            self.policy.enforce(caller, rule, self.target(server))

    async def _rescue(
        self, server: pb.Server, asked: pb.ActOnServerRequest.Rescue, caller: Caller
    ) -> Callable[[pb.Server], None]:
        """The change of the record, with the image looked up."""
        rules.check_rescue(server)
        image_id = asked.image_id or server.spec.image.id
        image = await self._creation.image(image_id, server.spec.flavor, caller)

        def change(changed: pb.Server) -> None:
            rules.check_rescue(changed)
            rescue.begin(changed, image)

        return change

    @again
    async def _change(
        self,
        server: pb.Server,
        action: str,
        caller: Caller,
        change: Callable[[pb.Server], migration_pb2.Migration | None] | Callable[[pb.Server], None],
    ) -> pb.Server:
        """Change the record and note the action, in one transaction with the migration that it begins.

        action empty: a part of one, which is noted later.
        """
        changed = copy_of(self.find(server.meta.id, caller))
        begun = change(changed)
        changed.meta.request_id = caller.request_id
        async with self.store.transaction() as txn:
            txn.update(SERVERS, changed)
            if begun is not None:
                begun.meta.request_id = caller.request_id
                txn.create(MIGRATIONS, begun)
            if action:
                instance_action.record(self.store, txn, server, action, caller)
        return self.kept(changed)

    async def _attach(
        self, server: pb.Server, asked: pb.ActOnServerRequest.AttachPort, caller: Caller
    ) -> pb.Server:
        rules.check(server, "attach_interface")
        if not asked.port_id:
            return await self._attach_new(server, asked, caller)
        port = await self._ports.get(asked.port_id, caller)
        if port.spec.device_id:
            raise FailedPrecondition(
                f"Port {asked.port_id} is still in use.", reason="PORT_IN_USE", id=asked.port_id
            )
        request = pb.NicRequest(port_id=asked.port_id, network_id=port.spec.network_id, tag=asked.tag)

        def add(changed: pb.Server) -> None:
            changed.spec.networks.append(request)

        return await self._change(server, "attach_interface", caller, add)

    async def _attach_new(
        self, server: pb.Server, asked: pb.ActOnServerRequest.AttachPort, caller: Caller
    ) -> pb.Server:
        """The port is promised before it is made, so that it goes if this controller dies in between."""
        port_id = str(uuid.uuid4())

        def promise(changed: pb.Server) -> None:
            changed.promised_ports.add(port_id=port_id).create_time.GetCurrentTime()

        def keep(changed: pb.Server) -> None:
            left = [promised for promised in changed.promised_ports if promised.port_id != port_id]
            if len(left) == len(changed.promised_ports):
                raise StaleRevision("It took too long: the port was taken back.", id=port_id)
            del changed.promised_ports[:]
            changed.promised_ports.extend(left)
            changed.spec.networks.append(request)

        server = await self._change(server, "", caller, promise)
        port = await self._make_port(server, port_id, asked, caller)
        request = pb.NicRequest(port_id=port_id, network_id=port.spec.network_id, tag=asked.tag, owned=True)
        try:
            return await self._change(server, "attach_interface", caller, keep)
        except (NotFound, StaleRevision):  # the server went meanwhile, or its promise was broken
            gone = port_pb2.DeletePortRequest(id=port_id)
            await self._client.call(port_pb2_grpc.PortServiceStub, "DeletePort", gone)
            raise

    async def _make_port(
        self, server: pb.Server, port_id: str, asked: pb.ActOnServerRequest.AttachPort, caller: Caller
    ) -> port_pb2.Port:
        network_id = asked.network_id or (server.nics[0].network_id if server.nics else "")
        if not network_id:
            raise InvalidArgument("A network or a port must be named.", field="net_id")
        port = new_port(server, port_id, network_id)
        for address in asked.fixed_ips:
            port.spec.fixed_ips.add(ip_address=address)
        made: port_pb2.Port = await self._client.call(
            port_pb2_grpc.PortServiceStub, "CreatePort", port_pb2.CreatePortRequest(port=port), caller
        )
        return made


def _take_port(server: pb.Server, port_id: str) -> None:
    rules.check(server, "detach_interface")
    left = [asked for asked in server.spec.networks if asked.port_id != port_id]
    taken = [asked for asked in server.spec.networks if asked.port_id == port_id]
    if not taken:
        raise NotFound(f"Port {port_id} is not attached to the server.", reason="PORT_NOT_FOUND", id=port_id)
    del server.spec.networks[:]
    server.spec.networks.extend(left)
    if all(nic.port_id != port_id for nic in server.nics):
        # it was just given, and the domain has not got it yet
        server.releasing.add(port_id=port_id, owned=taken[0].owned)
