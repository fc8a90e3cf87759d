"""What is asked of the agents inside guests, through the agents of their nodes."""

from fabric.compute import guest_agent
from fabric.compute.node import life
from fabric.compute.v1 import node_pb2, node_pb2_grpc
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.client import Clients
from fabric.runtime.errors import FailedPrecondition, NotFound, Unavailable
from fabric.runtime.store import Store
from fabric.runtime.ticket import Signer

_TAKES_S = 50.0  # a guest that boots is waited for by its node, for less
_TICKET_S = 60.0


class GuestAgents:
    """What they are told is kept nowhere."""

    def __init__(self, store: Store, signer: Signer, agents: Clients) -> None:
        self._store = store
        self._signer = signer
        self._agents = agents

    async def set_password(self, server: pb.Server, password: str, caller: Caller) -> None:
        """Return when the guest's administrator has it. Raises FailedPrecondition."""
        if not guest_agent.is_possible(server):
            raise guest_agent.none()
        asked = node_pb2.SetGuestPasswordRequest(
            server_id=server.meta.id,
            user=guest_agent.administrator(server),
            password=password,
            ticket=self._signer.sign({"server": server.meta.id, "may": "password"}, _TICKET_S),
        )
        try:
            await self._call(server, asked, caller)
        except (NotFound, Unavailable) as error:
            raise FailedPrecondition(
                f"Instance {server.meta.id} is not ready", reason="INSTANCE_NOT_READY", id=server.meta.id
            ) from error
        except FailedPrecondition as error:
            if error.reason == "GUEST_AGENT_AWAY":
                raise guest_agent.away(server) from error
            raise FailedPrecondition(
                f"Failed to set admin password on {server.meta.id} because {error.message}",
                reason="PASSWORD_NOT_SET",
                id=server.meta.id,
            ) from error

    async def _call(self, server: pb.Server, asked: node_pb2.SetGuestPasswordRequest, caller: Caller) -> None:
        agent = life(self._store, server.node)
        if agent is None:
            raise Unavailable("The server's node is away.", node=server.node)
        await self._agents.at(agent.address).call(
            node_pb2_grpc.ComputeNodeServiceStub, "SetGuestPassword", asked, caller, timeout_s=_TAKES_S
        )
