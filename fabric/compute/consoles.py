"""The methods of ConsoleService: tickets instead of records, so that nothing is left of a console that nobody used."""

from fabric.compute.node import life
from fabric.compute.server import PAUSED, RUNNING, SERVERS
from fabric.compute.servers import Servers
from fabric.compute.v1 import console_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from fabric.runtime.store import Store
from fabric.runtime.ticket import Signer, Verifier

_LASTS_S = 600.0  # as long as Nova's tokens
_NODE_LASTS_S = 60.0
_MAY = "console"


class Consoles:
    """A ticket is for the server, wherever it is when it is shown."""

    def __init__(self, store: Store, servers: Servers, signer: Signer) -> None:
        self._store = store
        self._servers = servers
        self._signer = signer
        self._verifier = Verifier(signer.public_key)

    async def CreateConsole(
        self, request: pb.CreateConsoleRequest, caller: Caller
    ) -> pb.CreateConsoleResponse:
        server = self._servers.find(request.server_id, caller)
        rule = "os_compute_api:os-remote-consoles"
        self._servers.policy.enforce(caller, rule, self._servers.target(server))
        if request.kind not in (pb.CONSOLE_KIND_VNC, pb.CONSOLE_KIND_SERIAL):
            raise InvalidArgument("The kind of the console is not known.", field="kind")
        self._address(server)
        claims = {"server": server.meta.id, "kind": str(request.kind), "may": _MAY}
        return pb.CreateConsoleResponse(ticket=self._signer.sign(claims, _LASTS_S))

    async def FindConsole(self, request: pb.FindConsoleRequest, caller: Caller) -> pb.FindConsoleResponse:
        claims = self._verifier.check(request.ticket, may=_MAY)
        server = self._store.find(SERVERS, claims["server"])
        if server is None:
            raise PermissionDenied("The server is gone.")
        kind = pb.ConsoleKind.ValueType(int(claims["kind"]))
        there = {"server": server.meta.id, "may": pb.ConsoleKind.Name(kind)}
        return pb.FindConsoleResponse(
            server_id=server.meta.id,
            kind=kind,
            address=self._address(server),
            ticket=self._signer.sign(there, _NODE_LASTS_S),
        )

    def _address(self, server: server_pb2.Server) -> str:
        agent = life(self._store, server.node)
        if agent is None or server.view.power_state not in (RUNNING, PAUSED):
            raise FailedPrecondition(
                f"Instance {server.meta.id} is not ready", reason="INSTANCE_NOT_READY", id=server.meta.id
            )
        return agent.address
