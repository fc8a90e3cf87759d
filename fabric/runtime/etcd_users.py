"""Who may do what in etcd: its users, known by the common names of their certificates, and its roles."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from aetcd import rpc  # type: ignore[import-untyped]

from fabric.runtime.errors import FabricError, Unavailable
from fabric.runtime.etcd import CHANGED_USERS, Etcd, prefix_end

ROOT_USER = "root"
_TIMEOUT_S = 5.0
_EXISTS = "already exists"
_ABSENT = "not found"


@dataclass(frozen=True)
class Grant:
    """What a role may do with all keys below a prefix: read them, or write them too."""

    prefix: str
    write: bool = False


class Users:
    """What etcd's root may do. Each verb names an end state, and changes nothing that is so already.

    Every change makes etcd refuse the requests that are under way; our client sends those again.
    """

    def __init__(self, etcd: Etcd) -> None:
        self._auth = rpc.AuthStub(etcd.channel)

    async def ensure_role(self, role: str, grants: Iterable[Grant]) -> None:
        """The role may do exactly this."""
        await self._call(self._auth.RoleAdd, rpc.AuthRoleAddRequest(name=role), unless=_EXISTS)
        found = await self._call(self._auth.RoleGet, rpc.AuthRoleGetRequest(role=role))
        has = {_bytes(permission) for permission in found.perm}
        wanted = {_bytes(_permission(grant)) for grant in grants}
        for surplus in has - wanted:
            permission = rpc.Permission.FromString(surplus)
            request = rpc.AuthRoleRevokePermissionRequest(
                role=role, key=permission.key, range_end=permission.range_end
            )
            await self._call(self._auth.RoleRevokePermission, request)
        for missing in wanted - has:
            request = rpc.AuthRoleGrantPermissionRequest(name=role, perm=rpc.Permission.FromString(missing))
            await self._call(self._auth.RoleGrantPermission, request)

    async def ensure_user(self, user: str, role: str) -> None:
        """The user is known by its certificate alone, and has the role."""
        options = {"no_password": True}
        await self._call(
            self._auth.UserAdd, rpc.AuthUserAddRequest(name=user, options=options), unless=_EXISTS
        )
        found = await self._call(self._auth.UserGet, rpc.AuthUserGetRequest(name=user))
        if role not in found.roles:
            await self._call(self._auth.UserGrantRole, rpc.AuthUserGrantRoleRequest(user=user, role=role))

    async def remove(self, name: str) -> None:
        """There is neither a user nor a role of the name."""
        await self._call(self._auth.UserDelete, rpc.AuthUserDeleteRequest(name=name), unless=_ABSENT)
        await self._call(self._auth.RoleDelete, rpc.AuthRoleDeleteRequest(role=name), unless=_ABSENT)

    async def enable(self) -> None:
        """From now on nobody does what no role of theirs says."""
        await self._call(self._auth.RoleAdd, rpc.AuthRoleAddRequest(name=ROOT_USER), unless=_EXISTS)
        await self.ensure_user(ROOT_USER, ROOT_USER)
        await self._call(self._auth.AuthEnable, rpc.AuthEnableRequest())

    async def _call(self, method: Any, request: Any, unless: str = "") -> Any:
        """unless: the refusal that means that it is so already."""
        try:
            return await method(request, timeout=_TIMEOUT_S, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            details = error.details() or ""
            if CHANGED_USERS in details:  # by another controller
                return await self._call(method, request, unless)
            if unless and unless in details:
                return None
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise Unavailable("etcd does not answer", cause=details) from error
            raise FabricError(f"etcd refused: {details}", reason="ETCD_REFUSED") from error


def _permission(grant: Grant) -> Any:
    kind = rpc.Permission.READWRITE if grant.write else rpc.Permission.READ
    return rpc.Permission(permType=kind, key=grant.prefix.encode(), range_end=prefix_end(grant.prefix))


def _bytes(permission: Any) -> bytes:
    return bytes(permission.SerializeToString(deterministic=True))
