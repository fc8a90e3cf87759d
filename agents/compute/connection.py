"""The connection to libvirtd: made when needed, made again when it broke.

Blocking calls run in threads, and libvirt's own event loop in one more. libvirtaio is not used: libvirt
changes its watches from whichever thread is in a call, and asyncio's add_reader is not made for that.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import libvirt  # type: ignore[import-untyped]
import structlog

from agents.compute.driver import ChangedMeanwhile, HypervisorRefused
from fabric.runtime.errors import FabricError, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
_KEEPALIVE_S, _KEEPALIVE_TIMES = 5, 3
_AWAY = (
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
)
_CHANGED = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
_EVENTS = (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED)
_event_loop_lock = threading.Lock()
_event_loop_runs = False


class Connection:
    """Many calls may run at once; all raise Unavailable while libvirtd is away."""

    def __init__(self, uri: str, *, threads: int = 8) -> None:
        self._uri = uri
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="libvirt")
        self._lock = threading.Lock()
        self._open: libvirt.virConnect | None = None
        self._callbacks: list[int] = []
        self._listener: Callable[[str | None], None] = lambda _: None

    def listen(self, listener: Callable[[str | None], None]) -> None:
        """Call it, in any thread, with the UUID of each domain that changed; None: the connection broke."""
        self._listener = listener

    async def run(self, function: Callable[[libvirt.virConnect], T]) -> T:
        """Call the function with the connection in a thread. libvirt's errors become ours."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._call, function)

    def close(self) -> None:
        """Let go of libvirtd; calls that are under way end by themselves."""
        with self._lock:
            self._release()
        self._executor.shutdown(wait=False)

    def _call(self, function: Callable[[libvirt.virConnect], T]) -> T:
        connection = None
        try:
            connection = self._connected()
            return function(connection)
        except libvirt.libvirtError as error:
            raise _translated(error, connection) from error

    def _connected(self) -> libvirt.virConnect:
        with self._lock:
            if self._open is not None and self._open.isAlive():
                return self._open
            self._release()
            _ensure_event_loop()
            connection = libvirt.open(self._uri)
            connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_TIMES)
            connection.registerCloseCallback(self._closed, None)
            self._open = connection
            self._callbacks = [
                connection.domainEventRegisterAny(None, event, self._changed, None) for event in _EVENTS
            ]
            log.info("connected to libvirt", uri=self._uri)
            return connection

    def _release(self) -> None:
        """Close what is open; a connection lives on as long as a callback is registered."""
        connection, self._open = self._open, None
        if connection is None:
            return
        with contextlib.suppress(libvirt.libvirtError):  # it may be broken
            for callback in self._callbacks:
                connection.domainEventDeregisterAny(callback)
        with contextlib.suppress(libvirt.libvirtError):
            connection.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            connection.close()

    def _changed(self, _: libvirt.virConnect, domain: libvirt.virDomain, *__: Any) -> None:
        self._listener(domain.UUIDString())

    def _closed(self, _: libvirt.virConnect, reason: int, __: Any) -> None:
        log.warning("connection to libvirt lost", uri=self._uri, reason=reason)
        self._listener(None)


def _ensure_event_loop() -> None:
    """Run libvirt's event loop in a thread, once in a process."""
    global _event_loop_runs
    with _event_loop_lock:
        if _event_loop_runs:
            return
        libvirt.registerErrorHandler(lambda _, __: None, None)  # errors are raised, not printed
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True).start()
        _event_loop_runs = True


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _translated(error: libvirt.libvirtError, connection: libvirt.virConnect | None) -> FabricError:
    code, message = error.get_error_code(), error.get_error_message() or str(error)
    from_rpc = error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
    if connection is None or code in _AWAY or from_rpc or not connection.isAlive():
        return Unavailable(f"libvirt does not answer: {message}", code=code)
    if code in _CHANGED:
        return ChangedMeanwhile(message, code=code)
    return HypervisorRefused(message, code=code)
