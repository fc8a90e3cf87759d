"""Signatures of EC2 and S3 requests: versions 0, 1, 2 and 4, as clients of those APIs make them."""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

_CREDENTIAL = re.compile(r"Credential=[^/,\s]+/(\d{8})/([^/,\s]+)/([^/,\s]+)/aws4_request")
_SIGNED = re.compile(r"SignedHeaders=([^,\s]+)")
_ALLOWED_AGE = timedelta(minutes=15)


def signed(secret: str, asked: Mapping[str, Any], *, s3: bool) -> bool:
    """Whether the credentials object {access, signature, ...} was signed with the secret."""
    given = asked.get("signature")
    if not isinstance(given, str) or not given:
        return False
    try:
        expected = _s3(secret, asked) if s3 else _ec2(secret, asked)
    except (KeyError, ValueError, TypeError, AttributeError, binascii.Error):
        return False
    return any(hmac.compare_digest(one.encode(), given.encode()) for one in expected)


def _s3(secret: str, asked: Mapping[str, Any]) -> list[str]:
    token = base64.urlsafe_b64decode(asked["token"].encode())
    if token.startswith(b"AWS4-HMAC-SHA256"):
        lines = token.decode().split("\n")
        date, region, service, _ = lines[2].split("/")
        key = _key4(secret, date, region, service)
        return [hmac.new(key, token, hashlib.sha256).hexdigest()]
    digest = hmac.new(secret.encode(), token, hashlib.sha1).digest()
    return [base64.b64encode(digest).decode()]


def _ec2(secret: str, asked: Mapping[str, Any]) -> list[str]:
    params: dict[str, str] = {str(k): str(v) for k, v in asked.get("params", {}).items()}
    headers = {str(k).lower(): str(v) for k, v in (asked.get("headers") or {}).items()}
    if headers.get("authorization", "").startswith("AWS4-HMAC-SHA256") or (
        params.get("X-Amz-Algorithm") == "AWS4-HMAC-SHA256"
    ):
        return [_version4(secret, asked, params, headers, host) for host in _hosts(asked)]
    _check_time(params)
    version = params.get("SignatureVersion")
    if version == "0":
        text = params["Action"] + params["Timestamp"]
        return [_sha(secret, text, hashlib.sha1)]
    if version == "1":
        text = "".join(key + params[key] for key in sorted(params, key=str.lower))
        return [_sha(secret, text, hashlib.sha1)]
    if version == "2":
        return [_version2(secret, asked, params, host) for host in _hosts(asked)]
    raise ValueError("unknown version of signatures")


def _hosts(asked: Mapping[str, Any]) -> list[str]:
    """As it came, and without the port, which some clients leave out."""
    host = str(asked.get("host", ""))
    return list(dict.fromkeys([host, host.rpartition(":")[0] or host]))


def _version2(secret: str, asked: Mapping[str, Any], params: dict[str, str], host: str) -> str:
    method = params.get("SignatureMethod", "HmacSHA256")
    pairs = "&".join(f"{_quote(key)}={_quote(params[key])}" for key in sorted(params))
    text = "\n".join([str(asked["verb"]), host, str(asked["path"]), pairs])
    return _sha(secret, text, hashlib.sha256 if method == "HmacSHA256" else hashlib.sha1)


def _version4(
    secret: str, asked: Mapping[str, Any], params: dict[str, str], headers: dict[str, str], host: str
) -> str:
    authorization = headers.get("authorization", "")
    if authorization:
        scope, names = _CREDENTIAL.search(authorization), _SIGNED.search(authorization)
        if scope is None or names is None:
            raise ValueError("malformed Authorization header")
        date, region, service = scope.groups()
        listed = names[1]
    else:
        _, date, region, service, _ = params["X-Amz-Credential"].split("/")
        listed = params["X-Amz-SignedHeaders"]
    stamp = params.get("X-Amz-Date") or headers.get("x-amz-date") or headers["date"]
    _check_age(datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC))
    if not stamp.startswith(date):
        raise ValueError("the dates differ")
    shown = {**headers, "host": host}
    lines = "".join(f"{name}:{shown[name].strip()}\n" for name in listed.lower().split(";"))
    query = (
        ""
        if str(asked["verb"]) == "POST"
        else "&".join(
            f"{_quote(key)}={_quote(params[key])}" for key in sorted(params) if key != "X-Amz-Signature"
        )
    )
    request = "\n".join(
        [str(asked["verb"]), str(asked["path"]), query, lines, listed, str(asked.get("body_hash", ""))]
    )
    text = "\n".join(
        [
            "AWS4-HMAC-SHA256",
            stamp,
            f"{date}/{region}/{service}/aws4_request",
            hashlib.sha256(request.encode()).hexdigest(),
        ]
    )
    return hmac.new(_key4(secret, date, region, service), text.encode(), hashlib.sha256).hexdigest()


def _key4(secret: str, date: str, region: str, service: str) -> bytes:
    key = b"AWS4" + secret.encode()
    for word in (date, region, service, "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key


def _check_time(params: Mapping[str, str]) -> None:
    """Old requests are not good any more: somebody may have written them down."""
    stamp = params.get("Timestamp") or params.get("Expires")
    if not stamp:
        raise ValueError("no timestamp")
    at = datetime.fromisoformat(stamp)
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if "Timestamp" in params:
        _check_age(at)
    elif at < datetime.now(UTC):
        raise ValueError("expired")


def _check_age(at: datetime) -> None:
    if abs(datetime.now(UTC) - at) > _ALLOWED_AGE:
        raise ValueError("too old")


def _sha(secret: str, text: str, kind: Callable[..., Any]) -> str:
    return base64.b64encode(hmac.new(secret.encode(), text.encode(), kind).digest()).decode()


def _quote(text: str) -> str:
    return quote(text, safe="-_.~")
