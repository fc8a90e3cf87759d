"""Identity's leader loops: the first records, token keys, and forgetting what is over."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import structlog

from fabric.identity.bootstrap import bootstrap, ensure_token_key
from fabric.identity.collection import APPLICATION_CREDENTIALS, REVOCATIONS, TOKEN_KEYS, TRUSTS
from fabric.identity.token import new_key
from fabric.identity.v1 import token_pb2
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.errors import StaleRevision
from fabric.runtime.reconcile import Loop
from fabric.runtime.store import Collection, Store

log = structlog.get_logger(__name__)

_KEYS = "keys"
_LATE_S = 60  # how much longer than needed things are kept, for clocks that differ
_ENDED_KEPT_S = 86400  # how long an expired trust stays to be seen


def loops(store: Store, config: Config, client: Client) -> dict[str, Callable[[], Awaitable[None]]]:
    """By name."""
    keeper = TokenKeys(store, config)
    ended = Ended(store)
    key_loop = Loop("identity-token-keys", keeper.reconcile, lambda: [_KEYS], resync=timedelta(minutes=5))
    end_loop = Loop("identity-ended", ended.reconcile, ended.ids, resync=timedelta(minutes=2), concurrency=4)

    async def begin() -> None:
        await bootstrap(store, config)
        await asyncio.Event().wait()

    return {"identity-bootstrap": begin, "identity-token-keys": key_loop.run, "identity-ended": end_loop.run}


class TokenKeys:
    """A new key now and then; old ones stay as long as a token can be sealed with them."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._rotation_s = config.identity.token_key_rotation_s
        self._lifetime_s = config.identity.token_lifetime_s

    async def reconcile(self, _: str) -> timedelta | None:
        """Make a key when the newest is old, drop those that no token needs."""
        await ensure_token_key(self._store)
        keys = sorted(self._store.table(TOKEN_KEYS), key=lambda key: key.meta.create_time.seconds)
        now = time.time()
        newest = keys[-1]
        age_s = now - newest.meta.create_time.seconds
        if age_s >= self._rotation_s:
            key = token_pb2.TokenKey(key=new_key())
            key.meta.id = str(max(int(known.meta.id) for known in keys) + 1)
            async with self._store.transaction() as txn:
                txn.create(TOKEN_KEYS, key)
            log.info("token key made", key=key.meta.id)
            return timedelta(0)
        for older, newer in itertools.pairwise(keys):
            if newer.meta.create_time.seconds + self._lifetime_s + _LATE_S < now:
                async with self._store.transaction() as txn:
                    txn.remove(TOKEN_KEYS, older)
                log.info("token key dropped", key=older.meta.id)
        return timedelta(seconds=max(1.0, min(300.0, self._rotation_s - age_s)))


class Ended:
    """Removes revocations of tokens that have ended, and expired trusts and application credentials."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kinds: dict[str, tuple[Collection[Any], float]] = {
            "revocation": (REVOCATIONS, _LATE_S),
            "trust": (TRUSTS, _ENDED_KEPT_S),
            "application_credential": (APPLICATION_CREDENTIALS, _ENDED_KEPT_S),
        }

    def ids(self) -> Iterator[str]:
        """What is over."""
        for kind, (collection, late_s) in self._kinds.items():
            before = time.time() - late_s
            for record in self._store.table(collection):
                if record.HasField("expire_time") and record.expire_time.seconds < before:
                    yield f"{kind}:{record.meta.id}"

    async def reconcile(self, name: str) -> timedelta | None:
        """Remove it."""
        kind, _, id_ = name.partition(":")
        collection, late_s = self._kinds[kind]
        record = self._store.find(collection, id_)
        if record is not None and record.expire_time.seconds < time.time() - late_s:
            try:
                async with self._store.transaction() as txn:
                    txn.remove(collection, record)
            except StaleRevision:
                return timedelta(seconds=1)
        return None
