"""etcd v3, asynchronously: with etcd_users.py all that knows its wire protocol (aetcd's messages and stubs)."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import structlog
from aetcd import rpc  # type: ignore[import-untyped]

from fabric.runtime.certificate import write_private
from fabric.runtime.channel import KEEPALIVE, Channel
from fabric.runtime.config import Config
from fabric.runtime.config import Etcd as EtcdSettings
from fabric.runtime.errors import FabricError, Unavailable
from fabric.runtime.tls import Identity

log = structlog.get_logger(__name__)

_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    *KEEPALIVE,
    ("grpc.lb_policy_name", "round_robin"),
]
MEMBER = "etcd"  # the name that the certificates of several members have in common
_PAGE = 2000
_MEMBERS_S = 10.0  # how often the members are looked at: etcd lets nobody watch them
_JOINING_S = 1.0  # the same, while one of them does not serve yet
_AGAIN_S = 0.1
_WITH_LEADER = (("hasleader", "true"),)  # of a member that has lost the others nothing is heard
_PROBE = b"/fabric/keys/"  # everybody may read it
CHANGED_USERS = "revision of auth store is old"  # users or roles were changed meanwhile: nothing was done
_TRANSIENT = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.INTERNAL,
)


class Compacted(FabricError):
    """The history that was asked for is no longer kept."""

    reason = "COMPACTED"


@dataclass(frozen=True)
class KeyValue:
    """One key as etcd has it."""

    key: str
    value: bytes
    mod_revision: int
    lease: int = 0
    create_revision: int = 0


@dataclass(frozen=True)
class Event:
    """One change: value None means that the key was deleted."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True)
class Member:
    """One of the cluster; its name and clients' host:port are empty until it has been there."""

    id: int
    name: str
    peer_url: str
    client: str
    learner: bool  # follows, and has no vote yet

    @property
    def serves(self) -> bool:
        """Whether clients may ask it."""
        return bool(self.client) and not self.learner


@dataclass
class Change:
    """What one transaction compares and does; mod revision 0 means that the key is absent."""

    expect: dict[str, int] = field(default_factory=dict)
    put: dict[str, bytes] = field(default_factory=dict)
    delete: set[str] = field(default_factory=set)
    lease: int = 0  # of everything that is put


@dataclass(frozen=True)
class Outcome:
    """revision: of the write, or at which the comparison failed; found: the compared keys if it failed."""

    succeeded: bool
    revision: int
    found: dict[str, KeyValue]


class Etcd:
    """One connection to an etcd cluster. Every call raises Unavailable when etcd does not answer in time."""

    def __init__(
        self,
        named: Sequence[str],
        *,
        identity: Identity | None = None,
        members_file: Path | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        """named: the members, unless members_file, where follow_members() remembers what it found, says others."""
        self._named = tuple(named)
        self.endpoints = _known(members_file, self._named)
        self._identity = identity
        self._members_file = members_file
        self.channel = Channel(self._open, lambda: (self.endpoints, identity and identity.version))
        self._cluster = rpc.ClusterStub(self.channel)
        self._kv = rpc.KVStub(self.channel)
        self._watch = rpc.WatchStub(self.channel)
        self._lease = rpc.LeaseStub(self.channel)
        self._timeout_s = timeout_s

    async def close(self) -> None:
        """Close the connection; calls under way fail."""
        await self.channel.close()

    def _open(self) -> grpc.aio.Channel:
        several = len(self.endpoints) > 1
        target = "ipv4:" + ",".join(self.endpoints) if several else self.endpoints[0]
        if self._identity is None:
            return grpc.aio.insecure_channel(target, options=_OPTIONS)
        options = [*_OPTIONS, *([("grpc.ssl_target_name_override", MEMBER)] if several else [])]
        return grpc.aio.secure_channel(target, self._identity.credentials(), options=options)

    async def follow_members(self) -> None:
        """Use the members that there are, whatever the configuration named, and remember them. Never returns."""
        while self._members_file is not None:
            pause_s = _MEMBERS_S
            try:
                members = await self.members()
            except FabricError as error:
                # all that were seen last may be gone, and those that were named be there
                log.info("etcd does not tell its members", cause=error.message)
                self.endpoints = tuple(dict.fromkeys((*self.endpoints, *self._named)))
            else:
                found = tuple(member.client for member in members if member.serves)
                if len(found) < len(members):
                    pause_s = _JOINING_S
                if found and found != self.endpoints:
                    log.info("etcd has other members", members=found, before=self.endpoints)
                    self.endpoints = found
                if found and found != _remembered(self._members_file):
                    await asyncio.to_thread(_remember, self._members_file, found)
            await asyncio.sleep(pause_s)
        await asyncio.Event().wait()

    async def members(self) -> list[Member]:
        """All of the cluster, by name, those that are not there yet too."""
        reply = await self._call(self._cluster.MemberList, rpc.MemberListRequest(), again=True)
        return sorted((_member(member) for member in reply.members), key=lambda member: member.name)

    async def revision(self) -> int:
        """The present revision of the store, read through the quorum."""
        probe = rpc.RangeRequest(key=_PROBE, limit=1, keys_only=True)
        reply = await self._call(self._kv.Range, probe, again=True)
        return int(reply.header.revision)

    async def get(self, key: str) -> KeyValue | None:
        """The key as it is now."""
        reply = await self._call(self._kv.Range, rpc.RangeRequest(key=key.encode()), again=True)
        return _key_value(reply.kvs[0]) if reply.kvs else None

    async def scan(self, prefix: str) -> tuple[list[KeyValue], int]:
        """Everything under the prefix as of one revision, and that revision."""
        found: list[KeyValue] = []
        start, end, revision = prefix.encode(), prefix_end(prefix), 0
        while True:
            request = rpc.RangeRequest(key=start, range_end=end, limit=_PAGE, revision=revision)
            reply = await self._call(self._kv.Range, request, again=True)
            revision = revision or reply.header.revision
            found.extend(map(_key_value, reply.kvs))
            if not reply.more:
                return found, int(revision)
            start = reply.kvs[-1].key + b"\0"

    async def commit(self, change: Change) -> Outcome:
        """Do the change if everything is as expected, in one transaction.

        Raises Unavailable; then the change may or may not have been done.
        """
        request = rpc.TxnRequest(
            compare=[
                rpc.Compare(
                    key=key.encode(),
                    target=rpc.Compare.MOD,
                    result=rpc.Compare.EQUAL,
                    mod_revision=revision,
                )
                for key, revision in change.expect.items()
            ],
            success=[
                *(
                    rpc.RequestOp(
                        request_put=rpc.PutRequest(key=key.encode(), value=value, lease=change.lease)
                    )
                    for key, value in change.put.items()
                ),
                *(
                    rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key.encode()))
                    for key in change.delete
                ),
            ],
            failure=[
                rpc.RequestOp(request_range=rpc.RangeRequest(key=key.encode())) for key in change.expect
            ],
        )
        reply = await self._call(self._kv.Txn, request)
        found: dict[str, KeyValue] = {}
        if not reply.succeeded:
            for part in reply.responses:
                for kv in part.response_range.kvs:
                    found[kv.key.decode()] = _key_value(kv)
        return Outcome(reply.succeeded, int(reply.header.revision), found)

    async def watch(self, prefix: str, start_revision: int) -> AsyncIterator[tuple[int, list[Event]]]:
        """Batches of events from start_revision on, each with the revision that it brings one to.

        Ends only by Unavailable or Compacted.
        """
        create = rpc.WatchCreateRequest(
            key=prefix.encode(), range_end=prefix_end(prefix), start_revision=start_revision
        )
        call = self._watch.Watch(metadata=_WITH_LEADER)
        try:
            await call.write(rpc.WatchRequest(create_request=create))
            async for reply in call:
                if reply.compact_revision:
                    raise Compacted("the history was compacted", revision=reply.compact_revision)
                if reply.canceled:
                    raise Unavailable("etcd cancelled the watch", cause=reply.cancel_reason)
                if reply.events:
                    events = [_event(event) for event in reply.events]
                    yield events[-1].revision, events
        except grpc.aio.AioRpcError as error:
            raise Unavailable("the watch on etcd broke", cause=error.details()) from error
        finally:
            call.cancel()
        raise Unavailable("etcd ended the watch")

    async def grant(self, ttl_s: int) -> int:
        """A new lease."""
        reply = await self._call(self._lease.LeaseGrant, rpc.LeaseGrantRequest(TTL=ttl_s))
        return int(reply.ID)

    async def keep_alive(self, lease: int, timeout_s: float) -> bool:
        """Renew the lease for its whole time again; False: it is gone."""
        try:
            async with asyncio.timeout(timeout_s):
                call = self._lease.LeaseKeepAlive()
                try:
                    await call.write(rpc.LeaseKeepAliveRequest(ID=lease))
                    reply = await call.read()
                finally:
                    call.cancel()
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError) as error:
            raise Unavailable("the lease could not be renewed", cause=type(error).__name__) from error
        if reply is grpc.aio.EOF:  # type: ignore[attr-defined]
            raise Unavailable("the lease could not be renewed", cause="end of stream")
        return bool(reply.TTL > 0)

    async def revoke(self, lease: int) -> None:
        """End the lease and delete its keys."""
        await self._call(self._lease.LeaseRevoke, rpc.LeaseRevokeRequest(ID=lease))

    async def compact(self, revision: int) -> None:
        """Forget the history before the revision."""
        await self._call(self._kv.Compact, rpc.CompactionRequest(revision=revision, physical=False))

    async def _call(self, method: Any, request: Any, *, again: bool = False) -> Any:
        """again: to ask twice is to ask once; so it is asked until it is answered or the time is over."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                left_s = max(deadline - time.monotonic(), 0.0)
                return await method(request, timeout=left_s, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                if CHANGED_USERS in (error.details() or ""):
                    continue
                if not again or error.code() not in _TRANSIENT or time.monotonic() + _AGAIN_S > deadline:
                    raise _as_ours(error) from error
            await asyncio.sleep(_AGAIN_S)


def _as_ours(error: grpc.aio.AioRpcError) -> FabricError:
    details = error.details() or ""
    if error.code() == grpc.StatusCode.OUT_OF_RANGE:
        return Compacted("the history was compacted")
    if error.code() == grpc.StatusCode.PERMISSION_DENIED:  # until its root admits us, or for ever
        return Unavailable("etcd does not admit us", cause=details)
    if error.code() in _TRANSIENT:
        return Unavailable("etcd does not answer", cause=details)
    return FabricError(f"etcd refused: {details}", reason="ETCD_REFUSED")


def connect(settings: EtcdSettings) -> Etcd:
    """The connection that the configuration describes, to the members that were seen last."""
    shown = Identity(settings.ca_file, settings.cert_file, settings.key_file) if settings.ca_file else None
    return Etcd(settings.endpoints, identity=shown, members_file=_members_file(settings))


def endpoints(settings: EtcdSettings) -> Sequence[str]:
    """The members that were seen last, else those that the configuration names."""
    return _known(_members_file(settings), settings.endpoints)


def as_node(config: Config) -> EtcdSettings:
    """etcd knows agents and gateways by the certificate of their node, also where a controller runs beside them."""
    if not config.tls.ca_file:
        return config.etcd
    return replace(config.etcd, cert_file=config.tls.cert_file, key_file=config.tls.key_file)


def _members_file(settings: EtcdSettings) -> Path | None:
    return Path(settings.members_file) if settings.members_file else None


def _known(file: Path | None, named: Sequence[str]) -> Sequence[str]:
    return _remembered(file) or named


def _remembered(file: Path | None) -> tuple[str, ...]:
    try:
        return tuple(file.read_text().split()) if file is not None else ()
    except FileNotFoundError:
        return ()


def _remember(file: Path, members: Sequence[str]) -> None:
    try:
        write_private(file, "\n".join(members).encode())
    except OSError as error:  # a full disk: they are asked again
        log.warning("members of etcd are not remembered", file=str(file), cause=str(error))


class Lease:
    """A lease that is kept alive in the background until it is closed or lost."""

    def __init__(self, etcd: Etcd, ttl_s: int) -> None:
        self._etcd = etcd
        self._ttl_s = ttl_s
        self.id = 0
        self.renewed = 0.0  # when it was last known to begin anew, of time.monotonic()
        self.lost = asyncio.Event()  # set when the lease is gone or can no longer be known to be there

    async def run(self) -> None:
        """Keep it alive; returns when it is lost. Call grant() before."""
        while True:
            await asyncio.sleep(self._ttl_s / 4)
            sent = time.monotonic()
            try:
                if not await self._etcd.keep_alive(self.id, self._ttl_s / 2):
                    break
                if self._is_over():  # others may have been told so meanwhile
                    break
                self.renewed = sent
            except Unavailable as error:
                log.warning("lease not renewed", lease=self.id, facts=error.facts)
                if self._is_over():
                    break
        log.error("lease lost", lease=self.id)
        self.lost.set()

    def _is_over(self) -> bool:
        return time.monotonic() - self.renewed > self._ttl_s

    async def grant(self) -> None:
        """Take the lease. Raises Unavailable."""
        self.renewed = time.monotonic()
        self.id = await self._etcd.grant(self._ttl_s)

    async def revoke(self) -> None:
        """Give it back at once, if etcd answers."""
        try:
            await self._etcd.revoke(self.id)
        except FabricError as error:
            log.info("lease left to expire", lease=self.id, cause=error.message)


def prefix_end(prefix: str) -> bytes:
    """The first key after all that begin with the prefix."""
    raw = prefix.encode()
    return raw[:-1] + bytes([raw[-1] + 1])


def _member(member: Any) -> Member:
    client = member.clientURLs[0].partition("://")[2] if member.clientURLs else ""
    return Member(member.ID, member.name, member.peerURLs[0], client, member.isLearner)


def _key_value(kv: Any) -> KeyValue:
    return KeyValue(_key(kv), kv.value, kv.mod_revision, kv.lease, kv.create_revision)


def _event(event: Any) -> Event:
    deleted = event.type == 1
    return Event(_key(event.kv), None if deleted else event.kv.value, event.kv.mod_revision)


def _key(kv: Any) -> str:
    """Ours are text; whoever may write below a prefix may write others."""
    return str(kv.key.decode(errors="backslashreplace"))
