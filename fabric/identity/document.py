"""The public API's token document: JSON, made once for a token and kept until anything it shows changes."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from fabric.identity import payload as tokens
from fabric.identity.catalog import Catalog
from fabric.identity.collection import ACCESS_RULES, APPLICATION_CREDENTIALS, PROJECTS, ROLES, TRUSTS, USERS
from fabric.identity.token import Authenticator, Known
from fabric.identity.v1 import project_pb2


def iso(micros: int) -> str:
    """2026-01-01T00:00:00.000000Z."""
    return datetime.fromtimestamp(micros // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{micros % 1_000_000:06d}Z"
    )


def stamp(value: Any) -> str | None:
    """A Timestamp in the same form; None when unset."""
    micros = value.seconds * 1_000_000 + value.nanos // 1000
    return iso(micros) if micros else None


class Documents:
    """Renders tokens."""

    def __init__(self, authenticator: Authenticator, catalog: Catalog) -> None:
        self._authenticator = authenticator
        self._store = authenticator.store
        self._catalog = catalog

    def of(self, known: Known, with_catalog: bool = True) -> bytes:
        """The body of GET /v3/auth/tokens."""
        at = (self._catalog.version, with_catalog)
        found = known.documents.get(at)
        if found is None:
            known.documents.clear()
            found = known.documents[at] = self._render(known, with_catalog)
        return found

    def _render(self, known: Known, with_catalog: bool) -> bytes:
        payload, caller, store = known.payload, known.caller, self._store
        body: dict[str, Any] = {
            "methods": list(payload.methods),
            "user": self._user(payload, caller.user_id, caller.user_name),
            "audit_ids": list(payload.audit_ids),
            "expires_at": iso(payload.expires_us),
            "issued_at": iso(payload.issued_us),
        }
        if payload.scope == tokens.PROJECT:
            project = store.get(PROJECTS, payload.scope_id)
            body["project"] = {
                "domain": self._domain(project.spec.domain_id) if project.spec.domain_id else None,
                "id": project.meta.id,
                "name": project.meta.name,
            }
            body["is_domain"] = project.spec.is_domain
        elif payload.scope == tokens.DOMAIN:
            body["domain"] = self._domain(payload.scope_id)
        elif payload.scope == tokens.SYSTEM:
            body["system"] = {"all": True}
        if payload.scope != tokens.UNSCOPED:
            body["roles"] = self._roles(known)
            if with_catalog:
                body["catalog"] = self._catalog.listing(caller.project_id, caller.user_id)
        if payload.trust_id:
            trust = store.get(TRUSTS, payload.trust_id)
            body["OS-TRUST:trust"] = {
                "id": trust.meta.id,
                "trustor_user": {"id": trust.trustor_user_id},
                "trustee_user": {"id": trust.trustee_user_id},
                "impersonation": trust.impersonation,
            }
        if payload.app_cred_id:
            body["application_credential"] = self._application_credential(payload.app_cred_id)
        return orjson.dumps({"token": body})

    def _user(self, payload: tokens.Payload, user_id: str, name: str) -> dict[str, Any]:
        user = self._store.find(USERS, user_id)
        if user is None:  # the services' own
            return {
                "domain": self._domain("default"),
                "id": user_id,
                "name": name,
                "password_expires_at": None,
            }
        return {
            "domain": self._domain(user.spec.domain_id),
            "id": user_id,
            "name": name,
            "password_expires_at": (stamp(user.password_expires_time) or "").removesuffix("Z") or None,
        }

    def _domain(self, domain_id: str) -> dict[str, Any]:
        domain: project_pb2.Project | None = self._store.find(PROJECTS, domain_id)
        return {"id": domain_id, "name": domain.meta.name if domain is not None else None}

    def _roles(self, known: Known) -> list[dict[str, Any]]:
        if known.payload.service:
            return [{"id": name, "name": name} for name in sorted(known.caller.roles)]
        found: Iterable[Any] = (self._store.find(ROLES, role_id) for role_id in known.role_ids)
        return [{"id": role.meta.id, "name": role.meta.name} for role in found if role is not None]

    def _application_credential(self, id_: str) -> dict[str, Any]:
        found = self._store.get(APPLICATION_CREDENTIALS, id_)
        shown: dict[str, Any] = {
            "id": id_,
            "name": found.meta.name,
            "restricted": not found.unrestricted,
        }
        if found.restricts or found.access_rule_ids:
            rules = (self._store.find(ACCESS_RULES, rule) for rule in found.access_rule_ids)
            shown["access_rules"] = [
                {"id": rule.meta.id, "service": rule.service, "method": rule.method, "path": rule.path}
                for rule in rules
                if rule is not None
            ]
        return shown


def now_micros() -> int:
    """The present in microseconds since 1970."""
    return time.time_ns() // 1000
