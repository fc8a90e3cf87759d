"""A libvirtd of our own, in a directory of its own: where no init system runs one, and for tests.

libvirtd's directories are compiled in, so that it gets a mount namespace in which they are others. Its guests
survive it, as they do any libvirtd. `PrivateLibvirtd(Path("/var/lib/fabric/libvirt")).start()`, then connect
to `.uri`. start() finds what runs already; kill() and start() are what a crash and a restart are.
"""

import os
import shutil
import signal
import subprocess
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from agents.compute.stray import qemus_below
from fabric.runtime.config import Tls

LIB = "/var/lib/libvirt"
_REDIRECTED = {
    "run": "/run/libvirt",
    "lib": LIB,
    "etc": "/etc/libvirt",
    "log": "/var/log/libvirt",
    "cache": "/var/cache/libvirt",
}
# libvirtd that was killed while it started a guest takes it, when it comes back, for one that is starting for
# ever, and refuses even to destroy it. Such a guest has no process: what libvirtd remembers of it is removed.
_FORGET_GHOSTS = "grep -ls \"^<domstatus .*pid='0'\" /run/libvirt/qemu/*.xml | xargs -r rm -f --"
_LIBVIRTD_CONF = """\
unix_sock_dir = "{directory}"
unix_sock_rw_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
host_uuid = "{host_uuid}"
max_client_requests = 32
max_queued_clients = 64
log_outputs = "3:stderr"
"""
_LISTEN_CONF = """\
listen_tls = 1
listen_tcp = 0
listen_addr = "{host}"
tls_port = "{port}"
auth_tls = "none"
ca_file = "{ca_file}"
cert_file = "{cert_file}"
key_file = "{key_file}"
crl_file = ""
tls_no_sanity_certificate = 1
"""
_LISTEN_QEMU_CONF = """\
migrate_tls_x509_cert_dir = "{pki}"
migrate_tls_x509_verify = 1
"""
_PKI = "pki"  # the node's certificate under the names by which libvirt's clients and QEMU look for it
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "logd"
max_core = 0
"""
_VIRTLOGD_CONF = """\
max_size = {console_bytes}
max_backups = 1
"""
_START_S = 20.0
_STOP_S = 10.0


def domain_log_directory(uri: str) -> Path:
    """Where the libvirtd behind a connection URI keeps its own log of each domain, seen from outside."""
    return seen_from_outside(uri, "log") / "qemu"


def seen_from_outside(uri: str, name: str) -> Path:
    """One of the directories of the libvirtd behind a connection URI: run, lib, etc, log, cache."""
    for socket in parse_qs(urlsplit(uri).query).get("socket", ()):
        private = Path(socket).parent / name
        if private.is_dir():
            return private
    return Path(_REDIRECTED[name])


def client_parameters(uri: str) -> str:
    """What a libvirtd behind a connection URI, as the client of another, adds to that one's URI."""
    for socket in parse_qs(urlsplit(uri).query).get("socket", ()):
        private = Path(socket).parent / _PKI
        if private.is_dir():
            return f"?pkipath={private}&no_sanity=1"
    return ""


class PrivateLibvirtd:
    """virtlogd and libvirtd with everything below one directory; needs root."""

    def __init__(
        self, directory: Path, *, console_bytes: int = 1 << 20, listen: str = "", tls: Tls | None = None
    ) -> None:
        """console_bytes: of each guest's console log, one older part of the same size is kept too.

        listen: host:port at which it takes running guests from nodes that show a certificate of tls's authority;
        empty, or no tls: it takes none.
        """
        self.directory = directory
        self._tls = tls or Tls()
        self._listen = listen if self._tls.ca_file else ""
        self._console_bytes = console_bytes

    @property
    def uri(self) -> str:
        """What libvirt.open takes."""
        return f"qemu+unix:///system?socket={self.directory}/libvirt-sock"

    def start(self) -> None:
        """Make both daemons run and answer. Raises TimeoutError."""
        self.configure()
        for daemon, socket in (
            ("virtlogd", self.directory / "run/virtlogd-sock"),
            ("libvirtd", self.directory / "libvirt-sock"),
        ):
            if self.pid(daemon) is None:
                socket.unlink(missing_ok=True)
                self._launch(daemon)
            self._wait_for(daemon, socket)

    def stop(self) -> None:
        """End both daemons; guests run on."""
        for daemon in ("libvirtd", "virtlogd"):
            self.kill(daemon, signal.SIGTERM)

    def wipe(self) -> None:
        """End the daemons and their guests, and remove the directory."""
        self.stop()
        for pid in qemus_below(self.directory):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def kill(self, daemon: str = "libvirtd", number: signal.Signals = signal.SIGKILL) -> None:
        """End one daemon and wait until it is gone."""
        pid = self.pid(daemon)
        if pid is None:
            return
        os.kill(pid, number)
        deadline = time.monotonic() + _STOP_S
        while self.pid(daemon) is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)

    def pid(self, daemon: str = "libvirtd") -> int | None:
        """The process of a daemon; None: it does not run."""
        try:
            pid = int((self.directory / f"{daemon}.pid").read_text())
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            return None
        ours = daemon.encode() in arguments[0] and str(self.directory / f"{daemon}.pid").encode() in arguments
        return pid if ours else None

    def configure(self) -> None:
        """Write what the daemons read; for who starts them with command() and looks after them itself."""
        for name, path in _REDIRECTED.items():
            (self.directory / name).mkdir(parents=True, exist_ok=True)
            Path(path).mkdir(parents=True, exist_ok=True)  # a mount needs something to mount on
        etc = self.directory / "etc"
        host_uuid = etc / "host_uuid"
        if not host_uuid.exists():
            host_uuid.write_text(str(uuid.uuid4()))
        libvirtd_conf = _LIBVIRTD_CONF.format(directory=self.directory, host_uuid=host_uuid.read_text())
        qemu_conf = _QEMU_CONF
        if self._listen:
            host, _, port = self._listen.rpartition(":")
            libvirtd_conf += _LISTEN_CONF.format(host=host, port=port, **asdict(self._tls))
            qemu_conf += _LISTEN_QEMU_CONF.format(pki=self._name_certificates())
        (etc / "libvirtd.conf").write_text(libvirtd_conf)
        (etc / "qemu.conf").write_text(qemu_conf)
        (etc / "virtlogd.conf").write_text(_VIRTLOGD_CONF.format(console_bytes=self._console_bytes))

    def _name_certificates(self) -> Path:
        pki = self.directory / _PKI
        pki.mkdir(exist_ok=True)
        names = {
            self._tls.ca_file: ("cacert.pem", "ca-cert.pem"),
            self._tls.cert_file: ("clientcert.pem", "client-cert.pem", "server-cert.pem"),
            self._tls.key_file: ("clientkey.pem", "client-key.pem", "server-key.pem"),
        }
        for file, links in names.items():
            for link in links:
                (pki / link).unlink(missing_ok=True)
                (pki / link).symlink_to(file)
        return pki

    def command(self, daemon: str) -> list[str]:
        """The daemon in the foreground, with its mount namespace; the pid stays that of the first process."""
        binary = shutil.which(daemon, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if binary is None:
            raise FileNotFoundError(f"{daemon} is not installed")
        binds = [f'mount --bind "{self.directory / name}" {path}' for name, path in _REDIRECTED.items()]
        pid_file = self.directory / f"{daemon}.pid"
        listen = "--listen " if daemon == "libvirtd" and self._listen else ""
        run = f'exec {binary} {listen}--config "{self.directory}/etc/{daemon}.conf" --pid-file "{pid_file}"'
        script = " && ".join([*binds, f"{{ {_FORGET_GHOSTS}; }}", run])
        return ["unshare", "--mount", "--propagation", "slave", "sh", "-c", script]

    def _launch(self, daemon: str) -> None:
        with (self.directory / f"{daemon}.log").open("ab") as log:
            subprocess.run(  # forked off: it outlives us and our terminal
                ["setsid", "--fork", *self.command(daemon)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                check=True,
            )

    def _wait_for(self, daemon: str, socket: Path) -> None:
        deadline = time.monotonic() + _START_S
        while self.pid(daemon) is None or not socket.exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{daemon} did not start, see {self.directory}/{daemon}.log")
            time.sleep(0.02)
