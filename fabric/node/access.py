"""What etcd lets controllers and the agents of each node do."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from fabric.node.member import controller_user, node_user
from fabric.runtime.certificate import Authority
from fabric.runtime.config import Config
from fabric.runtime.discovery import CONTROLLERS
from fabric.runtime.etcd import Etcd, connect
from fabric.runtime.etcd_users import ROOT_USER, Grant, Users
from fabric.runtime.store import ROOT
from fabric.runtime.tls import CONTROLLER

SERVICES = ("compute", "network", "image")  # that have agents


def node_grants(node: str) -> list[Grant]:
    """A node reads what is wanted of it and writes what it has seen, as long as it shows a sign of life."""
    found = [Grant(f"{ROOT}/keys/"), Grant(f"{CONTROLLERS}/"), Grant(f"{ROOT}/nodes/{node}/", write=True)]
    for service in SERVICES:
        found.append(Grant(f"{ROOT}/{service}/node/{node}/"))
        found.append(Grant(f"{ROOT}/{service}/node/{node}/seen/", write=True))
    return found


def authority(config: Config) -> Authority:
    """The cloud's, where its key is."""
    lifetime = timedelta(seconds=config.controller.certificate_lifetime_s)
    return Authority(Path(config.controller.authority_dir), lifetime)


@asynccontextmanager
async def as_root(config: Config) -> AsyncIterator[Etcd]:
    """etcd as its root: who holds the authority may be that."""
    pair = Path(config.controller.authority_dir) / ROOT_USER
    settings = replace(config.etcd, cert_file=f"{pair}.pem", key_file=f"{pair}.key")
    etcd = connect(settings)
    try:
        yield etcd
    finally:
        await etcd.close()


@asynccontextmanager
async def access(config: Config) -> AsyncIterator["Access"]:
    """What may be done in etcd, for who holds the authority."""
    async with as_root(config) as etcd:
        yield Access(Users(etcd))


class Access:
    """Raises Unavailable."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def begin(self, nodes: Iterable[str], controllers: Iterable[str]) -> None:
        """These may do what they must, and nobody else anything."""
        await self._users.ensure_role(CONTROLLER, [Grant(f"{ROOT}/", write=True)])
        for node in controllers:
            await self.admit_controller(node)
        for node in nodes:
            await self.admit(node)
        await self._users.enable()

    async def admit(self, node: str) -> None:
        """The agents of the node may do what is theirs."""
        name = node_user(node)
        await self._users.ensure_role(name, node_grants(node))
        await self._users.ensure_user(name, name)

    async def admit_controller(self, node: str) -> None:
        """The controller of the node may do everything with the cloud's records."""
        await self._users.ensure_user(controller_user(node), CONTROLLER)

    async def expel(self, node: str) -> None:
        """Whatever certificates the node has, etcd refuses them."""
        await self._users.remove(node_user(node))
        await self._users.remove(controller_user(node))
