"""A real etcd for tests: started on a free port in a temporary directory, ended by its pid."""

import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_given: set[int] = set()


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on, and that this process has given to nobody yet."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


class EtcdProcess:
    """One etcd member; it can be killed and started again on the same data."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="fabric-etcd-")
        self._client, self._peer = free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self._client}"

    @property
    def pid(self) -> int:
        """Of the running process."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers."""
        client, peer = f"http://127.0.0.1:{self._client}", f"http://127.0.0.1:{self._peer}"
        arguments = {
            "data-dir": self._directory.name + "/data",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "grpc-keepalive-min-time": "1s",
            "max-txn-ops": "4096",
            "log-level": "error",
        }
        words = [f"--{key}={value}" for key, value in arguments.items()]
        with Path(self._directory.name, "log").open("ab") as log:
            self._process = subprocess.Popen(["etcd", *words], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", self._client)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("etcd does not listen")

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End it and forget its data."""
        self.kill()
        self._directory.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
