"""Who belongs to etcd: members are added as learners, get a vote when they have caught up, and are removed."""

import asyncio
from pathlib import Path
from typing import Any

import grpc
from aetcd import rpc  # type: ignore[import-untyped]

from fabric.runtime.errors import FabricError, Unavailable
from fabric.runtime.etcd import Etcd, Member

_TIMEOUT_S = 5.0
_PAUSE_S = 0.3
_SNAPSHOT_S = 3600.0
_LATER = ("too many learner members", "in sync with leader", "unhealthy cluster", "re-configuration failed")
_RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Members:
    """What etcd's root may do. Each verb names an end state."""

    def __init__(self, etcd: Etcd, *, patience_s: float = 60.0) -> None:
        """patience_s: how long to wait for what etcd allows only later."""
        self._etcd = etcd
        self._cluster = rpc.ClusterStub(etcd.channel)
        self._patience_s = patience_s

    async def ensure(self, name: str, peer_url: str) -> str:
        """There is a member at the URL, a learner at first; all of them, as its --initial-cluster says."""
        if await self._at(peer_url) is None:
            request = rpc.MemberAddRequest(peerURLs=[peer_url], isLearner=True)
            await self._call(self._cluster.MemberAdd, request)
        return ",".join(dict.fromkeys([*(await self.cluster()).split(","), f"{name}={peer_url}"]))

    async def cluster(self) -> str:
        """Those that are there, as --initial-cluster says them."""
        return ",".join(f"{each.name}={each.peer_url}" for each in await self._etcd.members() if each.name)

    async def ensure_vote(self, name: str) -> None:
        """The member has a vote: others go on without one of them."""
        member = await self._named(name)
        if member is not None and member.learner:
            await self._call(self._cluster.MemberPromote, rpc.MemberPromoteRequest(ID=member.id))

    async def remove(self, name: str) -> None:
        """There is no member of the name; it may be dead."""
        member = await self._named(name)
        if member is not None:
            await self._call(self._cluster.MemberRemove, rpc.MemberRemoveRequest(ID=member.id))

    async def _at(self, peer_url: str) -> Member | None:
        return next((each for each in await self._etcd.members() if each.peer_url == peer_url), None)

    async def _named(self, name: str) -> Member | None:
        return next((each for each in await self._etcd.members() if each.name == name), None)

    async def _call(self, method: Any, request: Any) -> None:
        """Raises FabricError, Unavailable."""
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while True:
            try:
                await method(request, timeout=_TIMEOUT_S, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                details = error.details() or ""
                later = error.code() in _RETRIED or any(cause in details for cause in _LATER)
                if not later:
                    raise FabricError(f"etcd refused: {details}", reason="ETCD_REFUSED") from error
                if asyncio.get_running_loop().time() > deadline:
                    raise Unavailable("etcd does not change its members", cause=details) from error
            else:
                return
            await asyncio.sleep(_PAUSE_S)


async def snapshot(etcd: Etcd, file: Path) -> None:
    """All that etcd holds as of one revision, as `etcdctl snapshot restore` takes it. Raises Unavailable."""
    call = rpc.MaintenanceStub(etcd.channel).Snapshot(rpc.SnapshotRequest(), timeout=_SNAPSHOT_S)
    try:
        with file.open("wb") as target:
            async for reply in call:
                target.write(reply.blob)
    except grpc.aio.AioRpcError as error:
        raise Unavailable("etcd gives no snapshot", cause=error.details()) from error
