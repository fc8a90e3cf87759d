"""Configuration: one TOML file for all processes of a node, read into frozen dataclasses."""

import dataclasses
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(Exception):
    """The file says something that is not understood; the message names the key."""


def opt(default: Any, doc: str) -> Any:
    """A key with its default and the sentence that the reference prints about it."""
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata={"doc": doc})
    return dataclasses.field(default=default, metadata={"doc": doc})


@dataclasses.dataclass(frozen=True)
class Node:
    """This machine."""

    name: str = opt("node1", "Name of the node in the cloud; unique.")
    state_dir: Path = opt(Path("/var/lib/fabric"), "Where the node keeps what must survive a restart.")
    address: str = opt("127.0.0.1", "Address at which other nodes reach this one.")
    availability_zone: str = opt("nova", "Availability zone of the node.")
    roles: list[str] = opt(
        ["etcd", "controller", "gateway", "agent"], "What fabricctl keeps running on this machine."
    )


@dataclasses.dataclass(frozen=True)
class Tls:
    """Mutual TLS between the processes of the cloud; without a ca_file there is none."""

    ca_file: str = opt("", "Certificate of the cloud's authority.")
    cert_file: str = opt("", "Certificate of this node, shown to callers and to those that are called.")
    key_file: str = opt("", "Private key of this node.")


@dataclasses.dataclass(frozen=True)
class Etcd:
    """How to reach etcd."""

    endpoints: list[str] = opt(
        ["127.0.0.1:2379"], "host:port of each member; the certificates of several have the name etcd."
    )
    ca_file: str = opt("", "Certificate authority of the members; empty: no TLS.")
    cert_file: str = opt("", "Certificate of the controller; agents show that of [tls].")
    key_file: str = opt("", "Private key of the controller.")
    cluster: str = opt(
        "",
        "name=URL of each member when that of this machine joined them, comma separated; empty: it is the first.",
    )
    members_file: str = opt(
        "", "Where this machine remembers the members as etcd tells them; empty: only the endpoints are used."
    )


@dataclasses.dataclass(frozen=True)
class Controller:
    """The fabric-controller process."""

    listen: str = opt("127.0.0.1:9400", "host:port of its gRPC server.")
    master_key_file: str = opt(
        "/etc/fabric/master.key", "Fernet keys, one a line; the first encrypts the secrets in etcd."
    )
    policy_dir: str = opt("/etc/fabric/policy.d", "oslo.policy files (*.yaml) that change the default rules.")
    join_listen: str = opt(
        "", "host:port at which new nodes ask for a certificate; empty: none may join here."
    )
    authority_dir: str = opt("", "Directory with ca.key and root.key; only who has them may let nodes join.")
    certificate_lifetime_s: int = opt(
        31536000, "How long certificates last that are signed here; they are renewed when a third is left."
    )


@dataclasses.dataclass(frozen=True)
class Gateway:
    """The fabric-gateway process."""

    listen: str = opt("127.0.0.1:8780", "host:port of its HTTP server.")
    public_url: str = opt("", "URL under which clients reach it; empty: as their requests say.")
    catalog_url: str = opt(
        "",
        "URL in the catalog that clients of this gateway are shown as its public_url; empty: none is changed.",
    )
    cert_file: str = opt("", "Its TLS certificate (PEM, with the chain); empty: plain HTTP.")
    key_file: str = opt("", "The key of cert_file.")
    cors_origins: list[str] = opt(
        [], "Origins (https://dashboard.example.org) whose pages browsers let call the API; * is any."
    )
    controllers: list[str] = opt([], "host:port of each controller; empty: those that etcd tells of.")
    identity_path: str = opt("/identity", "Where the Identity API is mounted.")
    image_path: str = opt("/image", "Where the Image API is mounted.")
    compute_path: str = opt("/compute", "Where the Compute API is mounted.")
    network_path: str = opt("/network", "Where the Network API is mounted.")
    placement_path: str = opt("/placement", "Where the Placement API is mounted.")
    patience_s: float = opt(
        30.0, "How long a client may take for the head of a request, and be silent within its body."
    )
    drain_s: float = opt(10.0, "How long requests under way may take when the process is told to stop.")


@dataclasses.dataclass(frozen=True)
class Agent:
    """The fabric-agent process."""

    listen: str = opt("127.0.0.1:9401", "host:port of its gRPC server.")
    kinds: list[str] = opt(["compute", "network", "image"], "Which agents run on this node.")
    lease_ttl_s: int = opt(3, "A node whose agent is silent for so long is down.")
    orphan_grace_s: float = opt(60.0, "How long something of ours without a record is left alone.")


@dataclasses.dataclass(frozen=True)
class Compute:
    """Servers on this node, and how they are placed."""

    driver: str = opt("libvirt", "libvirt, or fake: servers that are only remembered, for scale tests.")
    libvirt_uri: str = opt("qemu:///system", "Connection to libvirt.")
    cpu_allocation_ratio: float = opt(16.0, "Virtual CPUs that are promised for each real one.")
    ram_allocation_ratio: float = opt(1.5, "Memory that is promised for each real byte.")
    disk_allocation_ratio: float = opt(1.0, "Disk that is promised for each real byte.")
    ram_weight_multiplier: float = opt(1.0, "How much free memory counts when a node is chosen.")
    cpu_weight_multiplier: float = opt(1.0, "How much free virtual CPUs count.")
    disk_weight_multiplier: float = opt(1.0, "How much free disk counts.")
    io_ops_weight_multiplier: float = opt(-1.0, "How much the servers count that a node is building.")
    build_failure_weight_multiplier: float = opt(
        1.0, "How much the servers count that a node failed to start."
    )
    soft_affinity_weight_multiplier: float = opt(1000.0, "How much a soft-affinity group holds together.")
    soft_anti_affinity_weight_multiplier: float = opt(1000.0, "How far a soft-anti-affinity group spreads.")
    reserved_ram_mib: int = opt(512, "Memory that is kept for the node itself.")
    image_cache_days: float = opt(7.0, "How long an unused base image is kept.")
    stop_timeout_s: float = opt(60.0, "How long a guest may take to shut down before it is switched off.")
    soft_reboot_timeout_s: float = opt(60.0, "How long a soft reboot waits before it becomes a hard one.")
    evacuate_after_s: float = opt(
        8.0, "How long a node must be down before its highly available servers are made elsewhere."
    )
    fence_after_s: float = opt(
        5.0,
        "How long highly available servers may run on a node that is cut off; less than evacuate_after_s.",
    )
    resize_on_same_node: bool = opt(True, "Whether a resize may stay on its node when no other one fits.")
    shelved_offload_s: float = opt(
        0.0, "How long the node of a shelved server keeps its disks; negative: until it is told to let go."
    )
    resize_confirm_s: float = opt(0.0, "After how long a resize is taken as confirmed; 0: never.")
    migration_listen: str = opt(
        "",
        "host:port at which the node's libvirt takes running servers from other nodes, with [tls]; empty: it does not.",
    )
    fake_vcpus: int = opt(64, "Virtual CPUs of a node with the fake driver.")
    fake_ram_mib: int = opt(262144, "Memory of a node with the fake driver.")
    fake_disk_gb: int = opt(20480, "Disk of a node with the fake driver.")
    fake_send_s: float = opt(
        0.0, "How long a live migration takes with the fake driver, for each GiB of memory."
    )

    def __post_init__(self) -> None:
        if self.fence_after_s >= self.evacuate_after_s:  # else a server could run twice
            raise ConfigError(
                f"compute.fence_after_s ({self.fence_after_s}) must be less than "
                f"compute.evacuate_after_s ({self.evacuate_after_s})"
            )


@dataclasses.dataclass(frozen=True)
class Network:
    """Networks on this node."""

    driver: str = opt("linux", "linux, or fake: ports that are only remembered, for scale tests.")
    mtu: int = opt(1450, "MTU of new networks between nodes; none of them may have more.")
    physical_mtu: int = opt(1500, "MTU of new flat and vlan networks.")
    dns_domain: str = opt("fabric.internal", "Domain of the names that the DHCP service answers.")
    dns_servers: list[str] = opt([], "Resolvers for names outside; empty: those of the node.")
    vni_first: int = opt(1, "First VXLAN network identifier that is given out.")
    vni_last: int = opt(16777215, "Last VXLAN network identifier that is given out.")
    tunnel_address: str = opt("", "Where the node takes VXLAN from others; empty: [node] address.")
    physical_networks: dict[str, str] = opt(
        {},
        "Physical networks that the node has: name = its interface; empty: the node itself is the way out.",
    )
    external_physical_network: str = opt(
        "public", "Physical network of the first external network that names none (flat)."
    )


@dataclasses.dataclass(frozen=True)
class Image:
    """Image bytes on this node."""

    directory: str = opt("", "Where they are; empty: images/ in the node's state directory.")
    max_bytes: int = opt(1 << 40, "The largest image that is taken.")


@dataclasses.dataclass(frozen=True)
class Identity:
    """Tokens and passwords."""

    token_lifetime_s: int = opt(86400, "How long a token is valid.")
    token_key_rotation_s: int = opt(86400, "How often a new token key is made.")
    bcrypt_rounds: int = opt(12, "Cost of a password hash: its base-2 logarithm.")
    password_memory_s: float = opt(60.0, "How long a verified password is remembered, as a keyed digest.")
    password_regex: str = opt("", "Expression that new passwords must match; empty: any.")
    password_regex_description: str = opt("", "The rule in words, for the error.")
    password_expires_days: int = opt(0, "How long a password lasts; 0: for ever.")
    unique_last_password_count: int = opt(2, "How many of the last passwords may not be used again.")
    minimum_password_age_days: int = opt(0, "How old a password must be before its user may change it.")
    lockout_failure_attempts: int = opt(2, "How many wrong passwords lock a user out; 0: never.")
    lockout_duration_s: int = opt(5, "For how long.")
    disable_user_account_days_inactive: int = opt(
        0, "After how many days unused a user is disabled; 0: never."
    )
    change_password_upon_first_use: bool = opt(False, "Whether a password set by others must be changed.")


@dataclasses.dataclass(frozen=True)
class Log:
    """Logs, written to standard error."""

    level: str = opt("info", "debug, info, warning or error.")
    format: str = opt("json", "json or console.")


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """What the controller makes in an empty cloud."""

    admin_password: str = opt("", "Password of the user admin; empty: no bootstrap.")
    demo_password: str = opt("", "Password of the user demo; empty: no demo user and project.")
    region: str = opt("RegionOne", "The region of the catalog's endpoints.")
    public_url: str = opt("http://127.0.0.1:8780", "The gateway's URL in the catalog.")


@dataclasses.dataclass(frozen=True)
class Config:
    """The whole file."""

    node: Node = dataclasses.field(default_factory=Node)
    tls: Tls = dataclasses.field(default_factory=Tls)
    etcd: Etcd = dataclasses.field(default_factory=Etcd)
    controller: Controller = dataclasses.field(default_factory=Controller)
    gateway: Gateway = dataclasses.field(default_factory=Gateway)
    agent: Agent = dataclasses.field(default_factory=Agent)
    compute: Compute = dataclasses.field(default_factory=Compute)
    network: Network = dataclasses.field(default_factory=Network)
    image: Image = dataclasses.field(default_factory=Image)
    identity: Identity = dataclasses.field(default_factory=Identity)
    log: Log = dataclasses.field(default_factory=Log)
    bootstrap: Bootstrap = dataclasses.field(default_factory=Bootstrap)
    quota: dict[str, int] = opt({}, 'Default limits, by resource: "network.port" = 500; -1: unlimited.')


def load(path: Path) -> Config:
    """Read the file. Raises ConfigError with the name of the key that is wrong."""
    try:
        with path.open("rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    config = parse(Config, raw, "")
    _check_fence(config)
    return config


def _check_fence(config: Config) -> None:
    """Else a node would fence itself before others can say that etcd is gone for them, too."""
    fence_after_s, lease_ttl_s = config.compute.fence_after_s, config.agent.lease_ttl_s
    if fence_after_s < lease_ttl_s + 1:
        raise ConfigError(
            f"compute.fence_after_s ({fence_after_s}) must be longer than "
            f"agent.lease_ttl_s ({lease_ttl_s}) by a second or more"
        )


def parse(kind: type[T], raw: Mapping[str, Any], where: str) -> T:
    """Make the dataclass of a table."""
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(raw) - set(hints))
    if unknown:
        raise ConfigError(f"unknown key {where}{unknown[0]}; known here: {', '.join(sorted(hints))}")
    return kind(**{name: _value(hints[name], value, f"{where}{name}") for name, value in raw.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where} must be a table")
        return parse(typing.cast(type[Any], hint), value, f"{where}.")
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint is float and type(value) is int:
        return float(value)
    origin = typing.get_origin(hint)
    if origin is list and isinstance(value, list):
        return [_value(typing.get_args(hint)[0], item, where) for item in value]
    if origin is dict and isinstance(value, Mapping):
        return {key: _value(typing.get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if type(value) is not (origin or hint):
        raise ConfigError(f"{where} must be {_name(origin or hint)}, not {_name(type(value))}")
    return value


def _name(kind: type) -> str:
    return {str: "a string", int: "an integer", bool: "true or false", float: "a number", list: "a list"}.get(
        kind, kind.__name__
    )
