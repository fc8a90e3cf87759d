"""How machines join: the gRPC service, and what rests in etcd for it."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import structlog

from fabric.node.access import access, authority
from fabric.node.member import (
    ETCD,
    MEMBERS,
    REFUSALS,
    TOKENS,
    alternatives,
    check,
    controller_user,
    node_user,
)
from fabric.node.token import Token
from fabric.node.token import check as check_token
from fabric.node.v1 import node_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.certificate import serial
from fabric.runtime.config import Config
from fabric.runtime.errors import AlreadyExists, InvalidArgument, PermissionDenied
from fabric.runtime.resource import copy_of
from fabric.runtime.rpc import Method, Server
from fabric.runtime.store import Store, Transaction
from fabric.runtime.tls import CONTROLLER, open_credentials

_SERIALS = 8  # of a member that are known

log = structlog.get_logger(__name__)


def refused(store: Store, number: str) -> bool:
    """Whether the certificate of this serial number holds no more."""
    return store.find(REFUSALS, number) is not None


def withdraw(store: Store, txn: Transaction, member: pb.Member) -> None:
    """From the commit on nobody takes the certificates of the member."""
    for number in member.serials:
        if not refused(store, number):
            refusal = pb.Refusal(node=member.meta.id)
            refusal.meta.id = number
            txn.create(REFUSALS, refusal)


async def begin(store: Store, config: Config) -> None:
    """The machine that holds the authority is a member like others, and etcd knows who may do what.

    Raises Unavailable.
    """
    name = config.node.name
    known = store.find(MEMBERS, name)
    found = pb.Member() if known is None else copy_of(known)
    found.address, found.controller = config.node.address, config.controller.listen
    found.ClearField("roles")
    found.roles.extend(config.node.roles)
    files = (config.tls.cert_file, config.etcd.cert_file)
    _know(found, [serial(_read(file)) for file in files])
    async with store.transaction() as txn:
        if known is None:
            found.meta.id = found.meta.name = name
            txn.create(MEMBERS, found)
        elif found != known:
            txn.update(MEMBERS, found)
    members = list(store.table(MEMBERS))
    controllers = [member.meta.id for member in members if CONTROLLER in member.roles]
    async with access(config) as granted:
        await granted.begin([member.meta.id for member in members], controllers)


def server(store: Store, config: Config) -> Server:
    """Where machines ask to join."""
    found = Server(freshness=store, credentials=open_credentials(config.tls))
    found.add(pb.DESCRIPTOR.services_by_name["JoinService"], Joining(store, config).methods())
    return found


class Joining:
    """Lets machines in that have a token."""

    def __init__(self, store: Store, config: Config) -> None:
        self._store = store
        self._config = config
        self._authority = authority(config)
        self._one_at_a_time = asyncio.Lock()  # of who spends the same token

    def methods(self) -> Mapping[str, Method]:
        """By RPC name."""
        return {"GetAuthority": self.GetAuthority, "Join": self.Join, "Renew": self.Renew}

    async def GetAuthority(self, _: pb.GetAuthorityRequest, caller: Caller) -> pb.Authority:
        """Nothing in it is secret."""
        return pb.Authority(certificate=self._authority.certificate.read_bytes())

    async def Join(self, request: pb.JoinRequest, caller: Caller) -> pb.Welcome:
        """Spends the token and records the member in one transaction; etcd admits it before that."""
        async with self._one_at_a_time:
            return await self._join(request)

    async def Renew(self, request: pb.RenewRequest, caller: Caller) -> pb.Renewal:
        """Whoever has the key of a certificate that holds is who it says."""
        try:
            number = serial(request.certificate)
            renewed = self._authority.renew(request.certificate, request.signing_request)
        except ValueError as error:
            raise InvalidArgument(f"It cannot be renewed: {error}.") from error
        member = next((each for each in self._store.table(MEMBERS) if number in each.serials), None)
        if member is None or refused(self._store, number):
            raise PermissionDenied("The certificate is of no member of the cloud.")
        found = copy_of(member)
        _know(found, [serial(renewed)])
        async with self._store.transaction() as txn:
            txn.update(MEMBERS, found)
        log.info("certificate renewed", node=member.meta.id)
        return pb.Renewal(certificate=renewed)

    async def _join(self, request: pb.JoinRequest) -> pb.Welcome:
        check(request)
        controls = CONTROLLER in request.roles
        token = Token.parse(request.token)
        record = self._store.find(TOKENS, token.id)
        check_token(token, record, controller=controls, now=datetime.now(UTC))
        assert record is not None
        if any(life.node == request.node for life in self._store.lives()):
            raise AlreadyExists(
                f"A node named {request.node} is alive.", reason="NODE_ALIVE", node=request.node
            )
        own = self._sign(
            request.signing_request,
            node_user(request.node),
            alternatives(request.node, request.address, request.roles),
        )
        certificates = [own]
        if controls:
            requested = request.controller_signing_request
            certificates.append(self._sign(requested, controller_user(request.node), []))
        async with access(self._config) as granted:
            await granted.admit(request.node)
            if controls:
                await granted.admit_controller(request.node)
        await self._record(request, copy_of(record), certificates)
        log.info("node joined", node=request.node, address=request.address, roles=list(request.roles))
        welcome = pb.Welcome(
            certificate=own,
            etcd_endpoints=self._store.etcd.endpoints,
            controllers=self._controllers(),
            public_url=self._config.bootstrap.public_url,
            region=self._config.bootstrap.region,
        )
        if controls:
            welcome.controller_certificate = certificates[1]
            welcome.master_keys = _read(self._config.controller.master_key_file)
        if ETCD in request.roles:
            welcome.authority_key = self._authority.key.read_bytes()
            welcome.admin_password = self._config.bootstrap.admin_password
            welcome.demo_password = self._config.bootstrap.demo_password
        return welcome

    async def _record(
        self, request: pb.JoinRequest, token: pb.JoinToken, certificates: Iterable[bytes]
    ) -> None:
        known = self._store.find(MEMBERS, request.node)
        member = pb.Member() if known is None else copy_of(known)
        async with self._store.transaction() as txn:
            token.uses_left -= 1
            if token.uses_left > 0:
                txn.update(TOKENS, token)
            else:
                txn.delete(TOKENS, token)
            if known is not None:
                withdraw(self._store, txn, known)
            member.address, member.controller = request.address, request.controller
            member.ClearField("roles")
            member.roles.extend(request.roles)
            member.ClearField("serials")
            member.serials.extend(map(serial, certificates))
            if known is None:
                member.meta.id = member.meta.name = request.node
                txn.create(MEMBERS, member)
            else:
                txn.update(MEMBERS, member)

    def _sign(self, request: bytes, common: str, names: list[str]) -> bytes:
        try:
            return self._authority.sign(request, common, names)
        except ValueError as error:
            raise InvalidArgument(f"The signing request is not good: {error}.") from error

    def _controllers(self) -> list[str]:
        return [member.controller for member in self._store.table(MEMBERS) if member.controller]


def _know(member: pb.Member, serials: Iterable[str]) -> None:
    """These are its certificates too; those of before the last renewals have ended."""
    member.serials.extend(number for number in serials if number not in member.serials)
    del member.serials[:-_SERIALS]


def _read(path: str) -> bytes:
    return Path(path).read_bytes()
