"""Write down which packets of logged ports passed or were dropped: one line of JSON a packet and log."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from logging import Formatter, Logger, LogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path

import orjson

from agents.network.driver import FilterDriver, LoggedPacket
from agents.network.flow_text import facts
from fabric.network.packet_log import covers, events
from fabric.network.v1 import log_pb2, port_pb2
from fabric.runtime.node import NodeStore

_LARGEST_BYTES, _KEPT = 16 << 20, 3


class PacketLog:
    """Tells the filter which ports are logged, and the file what it says of them."""

    def __init__(
        self,
        store: NodeStore[log_pb2.Log, log_pb2.Log],
        ports: Callable[[], Iterable[port_pb2.Port]],
        filter_: FilterDriver,
        file: Path,
    ) -> None:
        self._store = store
        self._ports = ports
        self._filter = filter_
        self._file = _File(file)
        self._logs: dict[str, list[log_pb2.Log]] = {}  # by port
        filter_.on_packet(self._write)

    async def reconcile(self, log_id: str) -> timedelta | None:
        """Which ports are logged; for any of the logs it looks at all of them, when a log or a port has changed."""
        wanted = [log for log in map(self._store.get, self._store.ids()) if log is not None]
        if not wanted and not self._logs:
            return None
        found = {port.meta.id: [log for log in wanted if covers(log, port)] for port in self._ports()}
        self._logs = {port_id: logs for port_id, logs in found.items() if logs}
        await self._filter.log_ports(
            {port_id: frozenset[str]().union(*map(events, logs)) for port_id, logs in self._logs.items()}
        )
        return None

    def close(self) -> None:
        self._file.close()

    def _write(self, packet: LoggedPacket) -> None:
        for log in self._logs.get(packet.port_id, ()):
            if packet.event in events(log):
                self._file.write(
                    {
                        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                        "log_id": log.meta.id,
                        "project_id": log.meta.project_id,
                        "port_id": packet.port_id,
                        "event": packet.event,
                        "direction": packet.direction,
                        **facts(packet.payload),
                    }
                )


class _File:
    """Made when there is something to write; a full one makes way for a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handler: RotatingFileHandler | None = None

    def write(self, line: Mapping[str, str | int]) -> None:
        if self._handler is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handler = RotatingFileHandler(self._path, maxBytes=_LARGEST_BYTES, backupCount=_KEPT)
            self._handler.setFormatter(Formatter("%(message)s"))
        self._handler.handle(_record(orjson.dumps(line).decode()))

    def close(self) -> None:
        if self._handler is not None:
            self._handler.close()


def _record(text: str) -> LogRecord:
    return Logger("packets").makeRecord("packets", 20, "", 0, text, (), None)
