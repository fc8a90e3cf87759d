"""The methods of MigrationService."""

from collections.abc import Callable

from fabric.compute import migration as rules
from fabric.compute.migration import MIGRATIONS
from fabric.compute.server import SERVERS, check_migrates
from fabric.compute.v1 import migration_pb2 as pb
from fabric.compute.v1 import server_pb2
from fabric.runtime.again import again
from fabric.runtime.caller import Caller
from fabric.runtime.errors import FailedPrecondition
from fabric.runtime.resource import Resource, copy_of
from fabric.runtime.store import Transaction
from fabric.type.v1.query_pb2 import Query

_API = "os_compute_api"
_CANCELLED_FROM = frozenset({rules.ACCEPTED, rules.PREPARING, rules.RUNNING})


class Migrations(Resource[pb.Migration]):
    """Records come from ActOnServer and the loops; callers may only hurry or end a live one."""

    collection = MIGRATIONS
    hidden = False
    policies = {"get": f"{_API}:os-migrations:index", "list": f"{_API}:os-migrations:index"}

    def candidates(self, caller: Caller, asked: Query) -> list[pb.Migration]:
        """All, the newest first unless sorted otherwise."""
        if not asked.sorts:
            asked.sorts.add(path="meta.create_time", descending=True)
            asked.sorts.add(path="meta.id", descending=True)
        asked.all_projects = True
        return super().candidates(caller, asked)

    def visible(self, caller: Caller, message: pb.Migration) -> bool:
        return self.policy.allows(caller, self.policies["get"], self.target(message))

    def present(self, caller: Caller, message: pb.Migration) -> pb.Migration:
        """With what the source says of a guest that is being sent."""
        status = self.store.table(SERVERS).reported(message.server_id).get(message.source)
        if not isinstance(status, server_pb2.ServerStatus) or message.state != rules.RUNNING:
            return message
        told = copy_of(message)
        told.progress.CopyFrom(status.transfer.progress)
        return told

    async def CancelMigration(self, request: pb.CancelMigrationRequest, caller: Caller) -> pb.Migration:
        self.policy.enforce(caller, f"{_API}:servers:migrations:delete", {})

        def give_up(move: server_pb2.Move) -> None:
            move.phase = rules.ABORTING if move.target else rules.CANCELLED

        return await self._change(request.id, caller, "abort live migration", _CANCELLED_FROM, give_up)

    async def ForceMigration(self, request: pb.ForceMigrationRequest, caller: Caller) -> pb.Migration:
        self.policy.enforce(caller, f"{_API}:servers:migrations:force_complete", {})

        def hurry(move: server_pb2.Move) -> None:
            move.forced = True

        return await self._change(request.id, caller, "force_complete", frozenset({rules.RUNNING}), hurry)

    @again
    async def _change(
        self,
        id_: str,
        caller: Caller,
        verb: str,
        states: frozenset[int],
        change: Callable[[server_pb2.Move], None],
    ) -> pb.Migration:
        """Change the move of the server; the loop goes on from there. Raises FailedPrecondition."""
        record = self.find(id_, caller)
        server = self.store.get(SERVERS, record.server_id)
        check_migrates(server, verb)
        if server.move.migration_id != id_ or record.state not in states:
            raise FailedPrecondition(
                f"Migration {id_} of server {record.server_id} is "
                f"{pb.MigrationState.Name(record.state)}: too late or too early for this.",
                reason="INVALID_MIGRATION_STATE",
                id=id_,
            )
        changed, noted = copy_of(server), copy_of(record)
        change(changed.move)
        noted.state = changed.move.phase
        if changed.move.phase in rules.OVER:
            changed.ClearField("move")
        async with self.store.transaction() as txn:
            self._write(txn, changed, noted)
        return self.present(caller, self.kept(noted))

    def _write(self, txn: Transaction, server: server_pb2.Server, record: pb.Migration) -> None:
        txn.update(SERVERS, server)
        txn.update(MIGRATIONS, record)
