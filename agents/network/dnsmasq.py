"""DhcpDriver with one dnsmasq a network, in the network's namespace.

A server outlives the agent: it is found again by its pid file and its command line, which names the
configuration (by digest) that it runs with. So a restart of the agent restarts no server, and a changed
configuration always does.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from agents.network import dhcp, dhcp_release, name, netns
from agents.network.batch import Batch
from agents.network.driver import Holding
from fabric.network.v1 import network_pb2, port_pb2
from fabric.runtime.errors import Unavailable

log = structlog.get_logger(__name__)

_STOP_S = 3.0
_TOLD = "told"  # file with the digest of the hosts, options and names that the server was told to read


@dataclass(frozen=True)
class DnsmasqSettings:
    """state_dir holds a directory per network.

    User is whom the servers run as and must be able to read it.
    """

    state_dir: Path
    lease_seconds: int = 86400
    domain: str = "openstacklocal"
    upstream: tuple[str, ...] = ()
    user: str = "root"


@dataclass
class _Server:
    """What is wanted of one network, and the process that does it; want None: nothing."""

    batch: Batch
    want: network_pb2.NetworkWant | None = None
    ports: Sequence[port_pb2.Port] = ()
    pid: int | None = None
    pidfd: int | None = None
    written: Mapping[str, str] = field(default_factory=dict)
    settled: tuple[network_pb2.NetworkWant, Sequence[port_pb2.Port]] | None = None  # what it does now
    texts: dhcp.PortTexts = field(default_factory=dhcp.PortTexts)

    def is_settled(self) -> bool:
        """Whether the process lives and knows all that is wanted."""
        if self.settled is None or self.pidfd is None or len(self.settled[1]) != len(self.ports):
            return False
        same = all(one is other for one, other in zip(self.ports, self.settled[1], strict=True))
        return same and self.settled[0] == self.want


class DnsmasqDhcp:
    """One reload serves all changes that came while the last was written; a removal waits for its turn, too."""

    def __init__(self, settings: DnsmasqSettings) -> None:
        self._settings = settings
        self._servers: dict[str, _Server] = {}
        self._on_exit: Callable[[str], None] = lambda network_id: None

    def on_exit(self, callback: Callable[[str], None]) -> None:
        self._on_exit = callback

    async def ensure(self, want: network_pb2.NetworkWant, ports: Sequence[port_pb2.Port]) -> None:
        network_id = want.network.meta.id
        if not dhcp.serves(want):
            await self.remove(network_id)
            return
        server = self._server(network_id)
        server.want, server.ports = want, ports
        if not server.is_settled():
            await server.batch.run()

    async def remove(self, network_id: str) -> None:
        server = self._server(network_id)
        server.want, server.ports = None, ()
        await server.batch.run()
        if server.want is None and server.batch.idle and self._servers.get(network_id) is server:
            del self._servers[network_id]

    async def find(self) -> list[Holding]:
        def find() -> list[Holding]:
            try:
                networks = sorted(path.name for path in self._settings.state_dir.iterdir())
            except FileNotFoundError:
                return []
            return [Holding("dhcp", network_id, "network", network_id) for network_id in networks]

        return await asyncio.to_thread(find)

    async def close(self) -> None:
        for server in self._servers.values():
            self._unwatch(server)
        self._servers.clear()

    def _directory(self, network_id: str) -> Path:
        return self._settings.state_dir / network_id

    def _server(self, network_id: str) -> _Server:
        if network_id not in self._servers:
            self._servers[network_id] = _Server(Batch(lambda: self._settle(network_id)))
        return self._servers[network_id]

    async def _settle(self, network_id: str) -> None:
        server = self._servers[network_id]
        if server.want is None:
            await self._end(network_id, server)
            return
        wanted_now = want, ports = server.want, server.ports
        files = dhcp.render(
            want,
            ports,
            server.texts,
            lease_seconds=self._settings.lease_seconds,
            domain=self._settings.domain,
            upstream=self._settings.upstream,
        )
        directory = self._directory(network_id)
        wanted = {"hosts": files.hosts, "options": files.options, "names": files.names}
        before = server.written or await asyncio.to_thread(_read, directory, [*wanted, _TOLD])
        wanted[_TOLD] = _digest("".join(wanted.values()))  # written last: the server knows of the others
        changed = {key: text for key, text in wanted.items() if before.get(key) != text}
        told = changed.pop(_TOLD, None)
        if changed:
            await asyncio.to_thread(_write, directory, changed)
        reload = dhcp.may_reload(before.get("hosts", ""))
        started = await self._ensure_process(
            network_id, server, files.configuration, anew=told is not None and not reload
        )
        if told is not None:
            if not started and server.pidfd is not None:
                signal.pidfd_send_signal(server.pidfd, signal.SIGHUP)
            await self._release(want, before.get("hosts", ""), files.hosts)
            await asyncio.to_thread(_write, directory, {_TOLD: told})
        server.written, server.settled = wanted, wanted_now

    async def _end(self, network_id: str, server: _Server) -> None:
        self._unwatch(server)
        server.written, server.settled = {}, None
        directory = self._directory(network_id)
        pid = await asyncio.to_thread(_find_process, directory)
        if pid is not None:
            await _stop(pid)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)

    async def _ensure_process(
        self, network_id: str, server: _Server, configuration: str, *, anew: bool
    ) -> bool:
        """True: a new process was started. anew: the one that runs, if any, will not do."""
        directory = self._directory(network_id)
        path = directory / f"dnsmasq-{_digest(configuration)}.conf"
        pid = server.pid if server.pidfd is not None else None
        if pid is None or not _runs_with(pid, path):
            pid = await asyncio.to_thread(_find_process, directory)
        if pid is not None and _runs_with(pid, path) and not anew:
            self._watch(network_id, server, pid)
            return False
        self._unwatch(server)
        if pid is not None:
            await _stop(pid)
        await asyncio.to_thread(_write, directory, {path.name: configuration})
        await asyncio.to_thread(self._start, network_id, path)
        for old in directory.glob("dnsmasq-*.conf"):
            if old != path:
                old.unlink(missing_ok=True)
        pid = await asyncio.to_thread(_find_process, directory)
        if pid is None:
            raise Unavailable("dnsmasq ended at once", network=network_id)
        log.info("dhcp server started", network=network_id, pid=pid)
        self._watch(network_id, server, pid)
        return True

    def _start(self, network_id: str, configuration: Path) -> None:
        """dnsmasq puts itself into the background once it listens; its exit code says whether it does."""
        directory = configuration.parent
        command = [
            "dnsmasq",
            f"--conf-file={configuration}",
            f"--pid-file={directory / 'pid'}",
            f"--dhcp-leasefile={directory / 'leases'}",
            f"--dhcp-hostsfile={directory / 'hosts'}",
            f"--dhcp-optsfile={directory / 'options'}",
            f"--addn-hosts={directory / 'names'}",
            f"--log-facility={directory / 'log'}",
            f"--user={self._settings.user}",
        ]

        def start() -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                timeout=20,
                check=False,
            )

        done = netns.call(name.namespace(network_id), start)
        if done.returncode != 0:
            message = done.stderr.decode(errors="replace").strip()
            raise Unavailable("dnsmasq did not start", network=network_id, output=message)

    def _watch(self, network_id: str, server: _Server, pid: int) -> None:
        if server.pid == pid and server.pidfd is not None:
            return
        self._unwatch(server)
        server.pid, server.pidfd = pid, os.pidfd_open(pid)

        def ended() -> None:
            log.warning("dhcp server ended", network=network_id, pid=pid)
            self._unwatch(server)
            self._on_exit(network_id)

        asyncio.get_running_loop().add_reader(server.pidfd, ended)

    def _unwatch(self, server: _Server) -> None:
        if server.pidfd is not None:
            asyncio.get_running_loop().remove_reader(server.pidfd)
            os.close(server.pidfd)
        server.pid = server.pidfd = None

    async def _release(self, want: network_pb2.NetworkWant, before: str, after: str) -> None:
        """Make the server forget leases of ports that went, so that their addresses may go to others."""
        gone = sorted(dhcp_release.bindings(before) - dhcp_release.bindings(after))
        if gone:
            network_id = want.network.meta.id
            own = [fixed.ip_address for fixed in want.dhcp_port.spec.fixed_ips]
            await netns.run(name.namespace(network_id), lambda: dhcp_release.send(gone, own))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(directory: Path, names: Sequence[str]) -> dict[str, str]:
    texts = {}
    for file in names:
        with contextlib.suppress(FileNotFoundError):
            texts[file] = (directory / file).read_text()
    return texts


def _write(directory: Path, texts: Mapping[str, str]) -> None:
    """Each file is replaced as a whole: dnsmasq reads the old or the new."""
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        temporary = directory / f".{file}"
        temporary.write_text(text)
        temporary.replace(directory / file)


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _runs_with(pid: int, configuration: Path) -> bool:
    return f"--conf-file={configuration}" in _command_line(pid)


def _find_process(directory: Path) -> int | None:
    """The server of this directory, whatever configuration it runs with."""
    try:
        pid = int((directory / "pid").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return pid if f"--pid-file={directory / 'pid'}" in _command_line(pid) else None


async def _stop(pid: int) -> None:
    """End the process and wait until it is gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(pidfd, gone.set)
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(gone.wait(), _STOP_S)
        if not gone.is_set():
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            await gone.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
