"""The programs of a cloud on one machine, in the order in which they start; they stop in the reverse one."""

import sys
from pathlib import Path

from agents.compute.libvirtd import PrivateLibvirtd
from fabric.ctl.place import Place
from fabric.ctl.program import Program, answers_unix, any_answers
from fabric.runtime.config import Config
from fabric.runtime.etcd import endpoints

SUPERVISOR = "supervisor"
ETCD = "etcd"


def programs(place: Place, config: Config) -> list[Program]:
    """What the supervisor keeps running."""
    has_etcd = any_answers(endpoints(config.etcd))
    agent_needs = [has_etcd]
    roles = config.node.roles
    found = [_etcd(place, config)] if "etcd" in roles else []
    if "agent" in roles and owns_libvirt(place, config):
        libvirtd = own_libvirtd(place, config)
        has_virtlogd = answers_unix(libvirtd.directory / "run/virtlogd-sock")
        found += [
            Program("virtlogd", tuple(libvirtd.command("virtlogd"))),
            Program("libvirtd", tuple(libvirtd.command("libvirtd")), needs=(has_virtlogd,)),
        ]
        agent_needs.append(answers_unix(libvirtd.directory / "libvirt-sock"))
    own = [
        Program("controller", _own(place, "fabric-controller"), needs=(has_etcd,)),
        Program("gateway", _own(place, "fabric-gateway"), stop_timeout_s=config.gateway.drain_s + 5),
        Program("agent", _own(place, "fabric-agent"), needs=tuple(agent_needs)),
    ]
    return found + [program for program in own if program.name in roles]


def owns_libvirt(place: Place, config: Config) -> bool:
    """Whether the servers live in a libvirtd that we run, not in the system's."""
    return config.compute.driver == "libvirt" and str(place.libvirt) in config.compute.libvirt_uri


def own_libvirtd(place: Place, config: Config) -> PrivateLibvirtd:
    """The libvirtd that we run."""
    return PrivateLibvirtd(place.libvirt, listen=config.compute.migration_listen, tls=config.tls)


def _own(place: Place, script: str) -> tuple[str, ...]:
    """A console script of the environment that runs this."""
    python = Path(sys.executable)
    return (str(python), str(python.parent / script), "--config", str(place.config))


def etcd_peer(client: str) -> str:
    """Where the member that serves clients at host:port is reached by the others."""
    host, _, port = client.rpartition(":")
    return f"{host}:{int(port) + 1}"


def _etcd(place: Place, config: Config) -> Program:
    client = config.etcd.endpoints[0]
    peer = etcd_peer(client)
    scheme, security = "http", []
    if config.etcd.ca_file:
        scheme = "https"
        for prefix in ("", "peer-"):
            security += [
                f"--{prefix}cert-file={place.keys / 'etcd.pem'}",
                f"--{prefix}key-file={place.keys / 'etcd.key'}",
                f"--{prefix}trusted-ca-file={config.etcd.ca_file}",
                f"--{prefix}client-cert-auth",
            ]
    argv = (
        "etcd",
        f"--name={config.node.name}",
        f"--data-dir={place.state / 'etcd'}",
        f"--listen-client-urls={scheme}://{client}",
        f"--advertise-client-urls={scheme}://{client}",
        f"--listen-peer-urls={scheme}://{peer}",
        f"--initial-advertise-peer-urls={scheme}://{peer}",
        f"--initial-cluster={config.etcd.cluster or f'{config.node.name}={scheme}://{peer}'}",
        f"--initial-cluster-state={'existing' if config.etcd.cluster else 'new'}",
        *security,
        "--grpc-keepalive-min-time=1s",  # for fabric/runtime/channel.py
        "--max-txn-ops=4096",  # a bulk create is one transaction
        "--logger=zap",
        "--log-outputs=stderr",
        "--auto-compaction-mode=periodic",
        "--auto-compaction-retention=5m",
        "--snapshot-count=5000",  # what raft keeps in memory; the default of 100000 costs hundreds of MB
        "--quota-backend-bytes=4294967296",
    )
    return Program(ETCD, argv)
