"""A small HTTP client that costs little: one connection, JSON in and out."""

import http.client
import time
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

_IDLE_S = 2.0  # less than a server waits for the next request of a connection


class Refused(RuntimeError):
    """An answer that is not 2xx."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"{status}: {body[:500]!r}")
        self.status = status
        self.body = body


class Http:
    """Calls one gateway. Not for several threads at once."""

    def __init__(self, url: str, timeout_s: float = 60) -> None:
        self._host = urlsplit(url).netloc
        self._timeout_s = timeout_s
        self._connection: http.client.HTTPConnection | None = None
        self._used_at = 0.0
        self.token = ""
        self.project_id = ""
        self.user_id = ""

    def login(self, user: str, password: str, project: str) -> None:
        """Take a token for the project of the default domain."""
        status, headers, body = self.exchange(
            "POST", "/identity/v3/auth/tokens", login(user, password, project)
        )
        if status != 201:
            raise Refused(status, body)
        self.token = headers["x-subject-token"]
        token = orjson.loads(body)["token"]
        self.project_id, self.user_id = token["project"]["id"], token["user"]["id"]

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """The answer's JSON (None: it has no body). Raises Refused."""
        status, _, data = self.exchange(method, path, body, headers)
        if not 200 <= status < 300:
            raise Refused(status, data)
        return orjson.loads(data) if data else None

    def exchange(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers in lower case, and bytes; a GET is sent again once when the connection breaks."""
        sent = {"X-Auth-Token": self.token} if self.token else {}
        data = body
        if body is not None and not isinstance(body, bytes):
            data, sent["Content-Type"] = orjson.dumps(body), "application/json"
        sent.update(headers or {})
        if time.monotonic() - self._used_at > _IDLE_S:
            self.close()
        for attempt in (1, 2):
            if self._connection is None:
                self._connection = http.client.HTTPConnection(self._host, timeout=self._timeout_s)
            try:
                self._connection.request(method, path, data, sent)
                reply = self._connection.getresponse()
                answer = reply.read()
                self._used_at = time.monotonic()
                return reply.status, {k.lower(): v for k, v in reply.getheaders()}, answer
            except (OSError, http.client.HTTPException):
                self.close()
                if attempt == 2 or method != "GET":  # what is lost may have been done
                    raise
        raise AssertionError

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def login(user: str, password: str, project: str) -> dict[str, Any]:
    """The body of a password login that is scoped to a project of the default domain."""
    domain = {"id": "default"}
    return {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": user, "domain": domain, "password": password}},
            },
            "scope": {"project": {"name": project, "domain": domain}},
        }
    }
