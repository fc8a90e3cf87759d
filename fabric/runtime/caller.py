"""Who calls."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fabric.runtime.access import Rule
from fabric.runtime.errors import Unauthenticated


@dataclass(frozen=True)
class Caller:
    """What a valid token says of its holder; all empty: nobody said who they are."""

    user_id: str = ""
    user_name: str = ""
    user_domain_id: str = ""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    domain_id: str = ""  # of a domain-scoped token
    system: bool = False  # of a system-scoped token
    roles: frozenset[str] = frozenset()  # names
    token: str = field(default="", repr=False)
    audit_ids: tuple[str, ...] = ()
    trust_id: str = ""
    app_cred_id: str = ""
    access: tuple[Rule, ...] | None = None  # all that it may be used for; None: anything
    request_id: str = ""

    @cached_property
    def credentials(self) -> Mapping[str, Any]:
        """As oslo.policy rules name them."""
        return {
            "user_id": self.user_id,
            "user_domain_id": self.user_domain_id,
            "project_id": self.project_id or None,
            "tenant_id": self.project_id or None,
            "project_domain_id": self.project_domain_id or None,
            "domain_id": self.domain_id or None,
            "system_scope": "all" if self.system else None,
            "roles": sorted(self.roles),
            "is_admin": "admin" in self.roles,
            "trust_id": self.trust_id or None,
            "application_credential_id": self.app_cred_id or None,
        }

    @cached_property
    def who(self) -> tuple[Any, ...]:
        """All that a policy's verdict can depend on."""
        return (
            self.user_id,
            self.user_domain_id,
            self.project_id,
            self.project_domain_id,
            self.domain_id,
            self.system,
            self.roles,
            self.trust_id,
            self.app_cred_id,
        )

    @property
    def is_admin(self) -> bool:
        """Whether the token carries the role admin, in whatever scope."""
        return "admin" in self.roles


ANONYMOUS = Caller()
_current: ContextVar[Caller] = ContextVar("caller", default=ANONYMOUS)
set_current = _current.set


def current() -> Caller:
    """The caller of the RPC that is being served. Raises Unauthenticated for nobody."""
    caller = _current.get()
    if not caller.user_id:
        raise Unauthenticated("The request you have made requires authentication.")
    return caller
