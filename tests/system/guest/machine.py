"""A guest in QEMU's software emulation and user-mode network: no privileges, nothing leaves the machine."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

# QEMU's default, 1 GB of translated code, makes reboots slow: a kernel is unpacked over translated pages.
_EMULATION = ("-accel", "tcg,tb-size=32")


def wait_for(what: str, probe: Callable[[], T | None], timeout_s: float = 30) -> T:
    """Ask until there is an answer. Raises TimeoutError, which says what was waited for."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if (answer := probe()) is not None:
            return answer
        time.sleep(0.1)
    raise TimeoutError(f"no {what} after {timeout_s:.0f} s")


class Machine:
    """One guest on an overlay of the image; its files are in a directory of its own."""

    def __init__(self, directory: Path, image: Path, *, size: str = "") -> None:
        self._directory = directory
        self._arguments: list[str] = []
        self._network = "user"
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: _Qmp | None = None
        overlay = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2"]
        subprocess.run([*overlay, str(directory / "disk.qcow2"), *([size] if size else [])], check=True)

    @property
    def console(self) -> str:
        """All that the serial console has shown since the machine was started."""
        return (self._directory / "console.log").read_text(errors="replace").replace("\r", "")

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def insert_config_drive(self, content: Path) -> None:
        """Make an ISO of the directory, as Nova labels it, and attach it before the start."""
        iso = self._directory / "config.iso"
        subprocess.run(
            ["genisoimage", "-quiet", "-r", "-J", "-V", "config-2", "-o", iso, content], check=True
        )
        self._arguments += ["-drive", f"file={iso},if=virtio,format=raw,readonly=on"]

    def serve_metadata(self, content: Path) -> None:
        """Answer on 169.254.169.254 with the files of a directory: an httpd for each connection."""
        httpd = f"{shutil.which('busybox')} httpd -i -h {content}"
        self._network = f"user,net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:{httpd}"

    def start(self) -> None:
        qmp = self._directory / "qmp"
        command = ["qemu-system-x86_64", "-machine", "pc", *_EMULATION, "-m", "128", "-display", "none"]
        command += [
            "-chardev",
            f"file,id=console,path={self._directory / 'console.log'}",
            "-serial",
            "chardev:console",
        ]
        command += ["-qmp", f"unix:{qmp},server=on,wait=off"]
        command += ["-drive", f"file={self._directory / 'disk.qcow2'},if=virtio"]
        command += ["-nic", f"{self._network},model=virtio,hostfwd=tcp:127.0.0.1:{self._port}-:22"]
        self._process = subprocess.Popen([*command, *self._arguments])
        self._qmp = wait_for("QMP socket", lambda: _Qmp.connect(qmp))

    def stop(self) -> None:
        if self._qmp is not None:
            self._qmp.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def qmp(self, execute: str, **arguments: object) -> Any:
        assert self._qmp is not None
        return self._qmp.execute(execute, arguments)

    def ssh(self, command: str, *, key: Path, user: str = "cirros", timeout_s: float = 20) -> str:
        """Run a command in the guest and return what it printed. Raises CalledProcessError."""
        options = ["-oBatchMode=yes", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
        options += ["-oConnectTimeout=5", "-oLogLevel=ERROR", f"-p{self._port}", f"-i{key}"]
        ssh: Sequence[str] = ["ssh", "-F", "none", *options, f"{user}@127.0.0.1", command]
        result = subprocess.run(ssh, capture_output=True, text=True, timeout=timeout_s, check=False)
        if result.returncode:
            error = subprocess.CalledProcessError(result.returncode, command, result.stdout, result.stderr)
            error.add_note(result.stdout + result.stderr)
            raise error
        return result.stdout

    def wait_for_console(self, text: str, timeout_s: float = 40) -> str:
        """The first line of the console that has the text."""

        def seen() -> str | None:
            assert self.running or text in self.console, self.console
            return next((line for line in self.console.splitlines() if text in line), None)

        return wait_for(f"'{text}' on the console", seen, timeout_s)


class _Qmp:
    """QEMU's monitor: one command, one answer; events are skipped."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._lines.readline()  # the greeting
        self.execute("qmp_capabilities", {})

    @classmethod
    def connect(cls, path: Path) -> "_Qmp | None":
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(10)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            return None
        return cls(connection)

    def execute(self, command: str, arguments: dict[str, object]) -> Any:
        self._connection.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self._lines.readline())
            if "error" in answer:
                raise RuntimeError(answer["error"]["desc"])
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        self._lines.close()
        self._connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
