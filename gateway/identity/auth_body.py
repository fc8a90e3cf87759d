"""The body of POST /v3/auth/tokens, as the message that asks for a token."""

from typing import Any

from fabric.identity.v1 import token_pb2 as pb
from gateway.core.codec import JsonValue
from gateway.core.fault import Fault, Invalid
from gateway.core.http import Request

_METHODS = ("password", "token", "application_credential", "totp")
_MAX = 4096


def parse(request: Request) -> pb.IssueTokenRequest:
    """Raises Invalid, Fault 401."""
    auth = _object(request.json(), "auth")
    identity = _object(auth, "identity", "auth.")
    message = pb.IssueTokenRequest(
        without_catalog="nocatalog" in dict(request.query),
        receipt=request.headers.get("openstack-auth-receipt", "")[:_MAX],
    )
    methods = identity.get("methods")
    if not isinstance(methods, list) or not methods or not all(isinstance(m, str) for m in methods):
        raise Invalid("'auth.identity.methods' must be a list of names.", field="auth.identity.methods")
    for method in dict.fromkeys(str(method) for method in methods):
        if method not in _METHODS:
            raise Fault(401, "The request you have made requires authentication.", reason="NO_SUCH_METHOD")
        message.methods.append(method)
        _PARSERS[method](_object(identity, method, "auth.identity."), message)
    if "scope" in auth:
        _scope(auth["scope"], message.scope)
    return message


def _password(body: dict[str, JsonValue], message: pb.IssueTokenRequest) -> None:
    user = _object(body, "user", "password.")
    _user(user, message.user)
    message.password = _text(user, "password", required=True)


def _token(body: dict[str, JsonValue], message: pb.IssueTokenRequest) -> None:
    message.token = _text(body, "id", required=True, most=6000)


def _application_credential(body: dict[str, JsonValue], message: pb.IssueTokenRequest) -> None:
    message.application_credential_id = _text(body, "id")
    message.application_credential_name = _text(body, "name")
    message.secret = _text(body, "secret", required=True)
    if not message.application_credential_id:
        _text(body, "name", required=True)
        _user(_object(body, "user", "application_credential."), message.application_credential_user)


def _totp(body: dict[str, JsonValue], message: pb.IssueTokenRequest) -> None:
    user = _object(body, "user", "totp.")
    _user(user, message.totp_user)
    message.passcode = _text(user, "passcode", required=True)


_PARSERS = {
    "password": _password,
    "token": _token,
    "application_credential": _application_credential,
    "totp": _totp,
}


def _user(body: dict[str, JsonValue], reference: pb.UserReference) -> None:
    reference.id = _text(body, "id")
    if reference.id:
        return
    reference.name = _text(body, "name", required=True)
    reference.domain_id, reference.domain_name = _domain(_object(body, "domain", "user."))


def _domain(body: dict[str, JsonValue]) -> tuple[str, str]:
    id_, name = _text(body, "id"), _text(body, "name")
    if not id_ and not name:
        raise Invalid("A domain must have an 'id' or a 'name'.", field="domain")
    return id_, name


def _scope(body: JsonValue, scope: pb.Scope) -> None:
    if body == "unscoped":
        scope.unscoped = True
        return
    if not isinstance(body, dict):
        raise Invalid("'scope' must be an object or the word unscoped.", field="auth.scope")
    kinds = [name for name in ("project", "domain", "system", "OS-TRUST:trust", "unscoped") if name in body]
    if len(kinds) > 1:
        raise Invalid("A token has one scope only.", field="auth.scope")
    if not kinds:
        raise Invalid("'scope' names no project, domain, system or trust.", field="auth.scope")
    inner = _object(body, kinds[0], "scope.")
    match kinds[0]:
        case "project":
            scope.project_id = _text(inner, "id")
            if not scope.project_id:
                scope.project_name = _text(inner, "name", required=True)
                scope.domain_id, scope.domain_name = _domain(_object(inner, "domain", "scope.project."))
        case "domain":
            scope.domain_id, scope.domain_name = _domain(inner)
        case "system":
            if inner.get("all") is not True:
                raise Invalid("'scope.system' must be {\"all\": true}.", field="auth.scope.system")
            scope.system = True
        case "unscoped":
            scope.unscoped = True
        case _:
            scope.trust_id = _text(inner, "id", required=True)


def _object(body: Any, name: str, before: str = "") -> dict[str, JsonValue]:
    inner = body.get(name)
    if not isinstance(inner, dict):
        raise Invalid(f"'{before}{name}' is a required property and must be an object.", field=before + name)
    return inner


def _text(body: dict[str, JsonValue], name: str, *, required: bool = False, most: int = _MAX) -> str:
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str):
        raise Invalid(f"'{name}' is a required property and must be a string.", field=name)
    if len(value) > most:
        raise Invalid(f"'{name}' is too long.", field=name)
    return value
