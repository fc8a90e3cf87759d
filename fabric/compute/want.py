"""What the nodes of a server are told: the decisions of migration.py with addresses, tickets and images."""

from collections.abc import Mapping, Sequence

from fabric.compute import migration, shelf
from fabric.compute.high_availability import wants_it
from fabric.compute.image_source import ImageSources
from fabric.compute.network_view import add_floating
from fabric.compute.node import NODES, inventory, lives
from fabric.compute.server import SERVERS
from fabric.compute.snapshot import is_being_made
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.resource import copy_of
from fabric.runtime.store import Store, Transaction
from fabric.runtime.ticket import Signer

_COMES = (pb.Transfer.ROLE_RECEIVE, pb.Transfer.ROLE_FETCH)


class Wants:
    """Only what differs is written."""

    def __init__(self, store: Store, images: ImageSources, signer: Signer) -> None:
        self._store = store
        self._images = images
        self._signer = signer

    def put(self, txn: Transaction, server: pb.Server) -> None:
        """Tell the nodes in the transaction that changes the server."""
        for node, want in self.of(server).items():
            txn.want(SERVERS, node, server.meta.id, want)

    async def tell(self, server: pb.Server) -> None:
        """Tell the nodes what the record says, if they have been told something else."""
        stale = {
            node: want
            for node, want in self.of(server).items()
            if self._store.wanted(SERVERS, node).get(server.meta.id) != want
        }
        if stale:
            async with self._store.transaction() as txn:
                txn.expect(SERVERS, server)
                for node, want in stale.items():
                    txn.want(SERVERS, node, server.meta.id, want)

    async def let_go(self, server: pb.Server, nodes: Sequence[str]) -> bool:
        """Tell the nodes to let go of a server that is deleted. True: all of them have."""
        reported = self._store.table(SERVERS).reported(server.meta.id)
        told = {node: self._store.wanted(SERVERS, node).get(server.meta.id) for node in nodes}
        held = [
            node
            for node, want in told.items()
            if want is not None and not getattr(reported.get(node), "released", False)
        ]
        late = [node for node in held if not _is_dismissal(told[node])]
        if late:
            async with self._store.transaction() as txn:
                txn.expect(SERVERS, server)
                for node in late:
                    txn.want(
                        SERVERS,
                        node,
                        server.meta.id,
                        self._completed(server, node, pb.ServerWant(server=server)),
                    )
        return not held

    def dismissed(self, txn: Transaction, server_id: str, node: str) -> bool:
        """Whether the node has let go of what it was told to; its want goes then."""
        reported = self._store.table(SERVERS).reported(server_id).get(node)
        wanted = self._store.wanted(SERVERS, node).get(server_id)
        if wanted is not None and not (_is_dismissal(wanted) and getattr(reported, "released", False)):
            return False
        txn.unwant(SERVERS, node, server_id)
        return True

    def dismiss(self, txn: Transaction, server: pb.Server, node: str) -> bool:
        """Tell a node in the transaction to let go of what it holds. False: it has let go already."""
        if self.dismissed(txn, server.meta.id, node):
            return False
        gone = self._completed(server, node, pb.ServerWant(server=migration.removed(server)))
        txn.want(SERVERS, node, server.meta.id, gone)
        return True

    def of(self, server: pb.Server) -> Mapping[str, pb.ServerWant]:
        """What each node must make true."""
        if shelf.is_put_away(server):
            told = {server.node: pb.ServerWant(server=shelf.told(server))}
        else:
            told = dict(migration.told(server))
        return {node: self._completed(server, node, want) for node, want in told.items()}

    def _completed(self, server: pb.Server, node: str, bare: pb.ServerWant) -> pb.ServerWant:
        want = copy_of(bare)
        add_floating(self._store, want.server)
        SERVERS.strip(want.server)
        want.server.node = node
        want.server.spec.ClearField("admin_password")  # sealed: agents have no key for it
        want.server.ClearField("snapshot")
        want.server.ClearField("promised_ports")
        want.server.ClearField("shelf")
        self._complete_snapshot(want, server, node)
        want.fenced = wants_it(server) and len(self._store.table(NODES)) > 1  # else there is nowhere to go
        comes_whole = server.whole_disk and want.transfer.role in _COMES
        if want.server.spec.image.id and not comes_whole:
            want.image.CopyFrom(self._images.find(want.server, want.server.spec.image))
        if want.server.rescue.generation:
            want.rescue_image.CopyFrom(self._images.find(want.server, want.server.rescue.image))
        if want.transfer.role:
            self._complete_transfer(want.transfer, server, node)
        return want

    def _complete_snapshot(self, want: pb.ServerWant, server: pb.Server, node: str) -> None:
        """While it copies and sends; a node that the server has left has nothing to do with it."""
        snapshot = server.snapshot
        if want.server.meta.HasField("delete_time") or want.transfer.role or node != snapshot.node:
            return
        if not (is_being_made(server) and shelf.may_copy(server)):
            return
        want.snapshot.image_id = snapshot.image_id
        if snapshot.upload_id:
            claims = {"image": snapshot.image_id, "may": "write", "upload": snapshot.upload_id}
            want.snapshot.upload_id, want.snapshot.address = snapshot.upload_id, snapshot.address
            want.snapshot.ticket = self._signer.sign(claims)

    def _complete_transfer(self, transfer: pb.Transfer, server: pb.Server, node: str) -> None:
        """While the other node is away, it is where it was."""
        move = server.move
        before = self._store.wanted(SERVERS, node).get(server.meta.id)
        if before is not None and before.transfer.migration_id == move.migration_id:
            transfer.address, transfer.directory = before.transfer.address, before.transfer.directory
        transfer.migration_id = move.migration_id
        other = lives(self._store).get(move.target if transfer.role == pb.Transfer.ROLE_SEND else move.source)
        if transfer.role == pb.Transfer.ROLE_SEND:
            prepared = self._store.table(SERVERS).reported(server.meta.id).get(move.target)
            if isinstance(prepared, pb.ServerStatus) and prepared.transfer.directory:
                transfer.directory = prepared.transfer.directory
            transfer.node = move.target
            if other is not None:
                transfer.address = inventory(other).migration_address
        elif transfer.role in _COMES:
            claims = {"server": server.meta.id, "may": "fetch", "migration": move.migration_id}
            transfer.ticket = self._signer.sign(claims)
            if other is not None:
                transfer.address = other.address


def _is_dismissal(want: pb.ServerWant | None) -> bool:
    return want is not None and want.server.meta.HasField("delete_time")
