"""The cloud's public HTTP API, as far as fabricctl itself uses it."""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fabric.runtime.config import Config

TIMEOUT_S = 30.0
Body = dict[str, Any]


class ApiError(Exception):
    """The cloud refused; status is the HTTP status, 0 when nothing answered."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Cloud:
    """A token with its catalog: {service type: public URL}."""

    token: str
    project_id: str
    endpoints: dict[str, str]
    ca_file: str = ""  # of the authority that vouches for the gateway; empty: one that the system knows

    def get(self, service: str, path: str) -> Body:
        return self._call("GET", service, path, None)

    def post(self, service: str, path: str, body: Body) -> Body:
        return self._call("POST", service, path, body)

    def put(self, service: str, path: str, body: Body) -> Body:
        return self._call("PUT", service, path, body)

    def delete(self, service: str, path: str) -> None:
        self._call("DELETE", service, path, None)

    def upload(self, service: str, path: str, file: Path) -> None:
        """PUT the file's bytes, streamed."""
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(file.stat().st_size)}
        with file.open("rb") as stream:
            url = self.endpoints[service] + path
            send("PUT", url, {**self._headers(), **headers}, stream, timeout_s=600, ca_file=self.ca_file)

    def find(self, service: str, path: str, name: str) -> Body | None:
        """The first of a collection that has the name; path ends with the collection's own word."""
        key = path.rpartition("/")[2].partition("?")[0].replace("-", "_")
        rows: list[Body] = self.get(service, path)[key]
        return next((row for row in rows if row.get("name") == name), None)

    def _call(self, method: str, service: str, path: str, body: Body | None) -> Body:
        headers = self._headers() | ({"Content-Type": "application/json"} if body is not None else {})
        data = json.dumps(body).encode() if body is not None else None
        url = self.endpoints[service] + path
        answer: Body = json.loads(send(method, url, headers, data, ca_file=self.ca_file)[0] or "{}")
        return answer

    def _headers(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token, "Accept": "application/json"}


def api_url(config: Config) -> str:
    """This machine's own gateway, if it has one that knows its URL."""
    own = config.gateway.public_url if "gateway" in config.node.roles else ""
    return own or config.bootstrap.public_url


def authority_of(config: Config) -> str:
    """The file that clients of the gateway need to believe it; empty: its certificate is of another authority."""
    own = config.gateway.cert_file in ("", config.tls.cert_file)
    return config.tls.ca_file if own and api_url(config).startswith("https:") else ""


def login(config: Config, user: str) -> Cloud:
    """As admin or demo, with the first password, in the project of the same name."""
    bootstrap, url, ca_file = config.bootstrap, api_url(config), authority_of(config)
    password = {"admin": bootstrap.admin_password, "demo": bootstrap.demo_password}[user]
    domain = {"name": "Default"}
    body = {
        "auth": {
            "identity": {
                "methods": ["password"],
                "password": {"user": {"name": user, "domain": domain, "password": password}},
            },
            "scope": {"project": {"name": user, "domain": domain}},
        }
    }
    text, headers = send(
        "POST",
        f"{url}/identity/v3/auth/tokens",
        {"Content-Type": "application/json"},
        json.dumps(body).encode(),
        ca_file=ca_file,
    )
    token = json.loads(text)["token"]
    endpoints = {
        service["type"]: endpoint["url"].rstrip("/")
        for service in token["catalog"]
        for endpoint in service["endpoints"]
        if endpoint["interface"] == "public"
    }
    return Cloud(headers["X-Subject-Token"], token["project"]["id"], endpoints, ca_file)


def send(
    method: str,
    url: str,
    headers: dict[str, str],
    data: Any = None,
    *,
    timeout_s: float = TIMEOUT_S,
    ca_file: str = "",
) -> tuple[str, Any]:
    """One request; the body and the headers of a good answer. Raises ApiError."""
    request = urllib.request.Request(url, data, headers, method=method)
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if ca_file:
        handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as answer:
            return answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")[:500]
        raise ApiError(f"{method} {url}: HTTP {error.code}: {text}", error.code) from error
    except OSError as error:
        raise ApiError(f"{method} {url}: {error}", 0) from error
