"""What an empty cloud begins with: the default domain, the roles, the first users, the catalog."""

import asyncio
from collections.abc import Iterable
from typing import Any

import structlog

from fabric.identity.collection import (
    ASSIGNMENTS,
    ENDPOINTS,
    IMPLICATIONS,
    PROJECTS,
    REGIONS,
    ROLES,
    SERVICES,
    TOKEN_KEYS,
    USERS,
)
from fabric.identity.grant import assignment_id
from fabric.identity.password import Passwords
from fabric.identity.resource import DEFAULT_DOMAIN, new_id
from fabric.identity.token import new_key
from fabric.identity.user import now
from fabric.identity.v1 import catalog_pb2, project_pb2, role_pb2, token_pb2, user_pb2
from fabric.runtime.config import Config
from fabric.runtime.errors import AlreadyExists
from fabric.runtime.store import Collection, Store

log = structlog.get_logger(__name__)

ROLE_NAMES = ("admin", "manager", "member", "reader", "service")
IMPLIED = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
CATALOG = (  # type, name, what follows the path of the gateway
    ("identity", "keystone", "/v3"),
    ("image", "glance", ""),
    ("compute", "nova", "/v2.1"),
    ("network", "neutron", ""),
    ("placement", "placement", ""),
)


async def bootstrap(store: Store, config: Config) -> None:
    """Make what is missing; what is there already stays as it is."""
    await ensure_token_key(store)
    if config.bootstrap.admin_password:
        await _Bootstrap(store, config).run()
        log.info("bootstrap done")


async def ensure_token_key(store: Store) -> None:
    """There must be one before tokens can be made."""
    if not len(store.table(TOKEN_KEYS)):
        key = token_pb2.TokenKey(key=new_key())
        key.meta.id = "1"
        await _create(store, TOKEN_KEYS, key)


class _Bootstrap:
    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config
        self._passwords = Passwords(config.identity.bcrypt_rounds, 0.0)

    async def run(self) -> None:
        settings = self._config.bootstrap
        if self._store.find(PROJECTS, DEFAULT_DOMAIN) is None:
            domain = project_pb2.Project()
            domain.meta.id, domain.meta.name = DEFAULT_DOMAIN, "Default"
            domain.meta.description = "The default domain"
            domain.spec.enabled = domain.spec.is_domain = True
            await _create(self._store, PROJECTS, domain)
        names = ["admin", "service", *(["demo"] if settings.demo_password else [])]
        projects = dict(zip(names, await asyncio.gather(*map(self._project, names)), strict=True))
        roles = dict(zip(ROLE_NAMES, await asyncio.gather(*map(self._role, ROLE_NAMES)), strict=True))
        for prior, implied in IMPLIED:
            await self._imply(roles[prior], roles[implied])
        await self._catalog()  # before anybody can log in
        admin = await self._user("admin", settings.admin_password)
        for place in ({"project_id": projects["admin"]}, {"domain_id": DEFAULT_DOMAIN}, {"system": True}):
            await self._grant(user_id=admin, role_id=roles["admin"], **place)
        if settings.demo_password:
            demo = await self._user("demo", settings.demo_password)
            await self._grant(user_id=demo, role_id=roles["member"], project_id=projects["demo"])

    async def _project(self, name: str) -> str:
        if found := self._store.owner(PROJECTS, "name", f"{DEFAULT_DOMAIN}/{name}"):
            return found
        project = project_pb2.Project()
        project.meta.id, project.meta.name = new_id(), name
        project.spec.domain_id = project.spec.parent_id = DEFAULT_DOMAIN
        project.spec.enabled = True
        return await _create(self._store, PROJECTS, project)

    async def _role(self, name: str) -> str:
        if found := self._store.owner(ROLES, "name", f"-/{name}"):
            return found
        role = role_pb2.Role()
        role.meta.id, role.meta.name = new_id(), name
        role.spec.options.update({"immutable": True})
        return await _create(self._store, ROLES, role)

    async def _imply(self, prior: str, implied: str) -> None:
        made = role_pb2.Implication(prior_role_id=prior, implied_role_id=implied)
        made.meta.id = f"{prior}:{implied}"
        if self._store.find(IMPLICATIONS, made.meta.id) is None:
            await _create(self._store, IMPLICATIONS, made)

    async def _user(self, name: str, password: str) -> str:
        if found := self._store.owner(USERS, "name", f"{DEFAULT_DOMAIN}/{name}"):
            return found
        user = user_pb2.User()
        user.meta.id, user.meta.name = new_id(), name
        user.spec.domain_id, user.spec.enabled = DEFAULT_DOMAIN, True
        user.passwords.add(hash=await self._passwords.hash(password)).create_time.CopyFrom(now())
        return await _create(self._store, USERS, user)

    async def _grant(self, **parts: Any) -> None:
        grant = role_pb2.Assignment(**parts)
        grant.meta.id = assignment_id(grant)
        if self._store.find(ASSIGNMENTS, grant.meta.id) is None:
            await _create(self._store, ASSIGNMENTS, grant)

    async def _catalog(self) -> None:
        region_id = self._config.bootstrap.region
        if self._store.find(REGIONS, region_id) is None:
            region = catalog_pb2.Region()
            region.meta.id = region_id
            await _create(self._store, REGIONS, region)
        for kind, name, tail in CATALOG:
            if any(service.spec.type == kind for service in self._store.table(SERVICES)):
                continue
            path = getattr(self._config.gateway, f"{kind}_path").rstrip("/")
            await self._service(kind, name, self._config.bootstrap.public_url.rstrip("/") + path + tail)

    async def _service(self, kind: str, name: str, url: str) -> None:
        service = catalog_pb2.Service()
        service.meta.id, service.meta.name = new_id(), name
        service.spec.type, service.spec.enabled = kind, True
        async with self._store.transaction() as txn:
            txn.create(SERVICES, service)
            for interface in ("public", "internal", "admin"):
                endpoint = catalog_pb2.Endpoint()
                endpoint.meta.id = new_id()
                endpoint.spec.service_id = service.meta.id
                endpoint.spec.region_id = self._config.bootstrap.region
                endpoint.spec.interface, endpoint.spec.url = interface, url
                endpoint.spec.enabled = True
                txn.create(ENDPOINTS, endpoint)


async def _create(store: Store, collection: Collection[Any], message: Any) -> str:
    """Create it, or, when another controller was faster, find it."""
    try:
        async with store.transaction() as txn:
            txn.create(collection, message)
    except AlreadyExists as error:
        await store.fresh(None)  # what the other has made is there for whoever looks next
        if error.facts.get("index") == "id":
            return str(message.meta.id)
        claims: Iterable[tuple[str, str]] = collection.claims(message)
        for index, value in claims:
            if found := store.owner(collection, index, value):
                return found
        raise
    return str(message.meta.id)
