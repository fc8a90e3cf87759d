"""The cloud that is fuzzed: its callers, what is theirs, and what must hold of every answer."""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from fabric.runtime.config import Config
from fabric.runtime.etcd import Etcd, Event, connect
from tests.functional.fuzz.calls import Call, World
from tests.functional.fuzz.seeds import Owner

_QUIET_S = 0.3  # etcd is quiet when nothing was written for so long
_PATIENCE_S = 10.0
_PAGE = re.compile(rb"<html>.*<title>\d{3} [^<]+</title>.*</h1>\s*[^<\s][^<]*<br.*</html>", re.DOTALL)


class Answer:
    """What came back."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def refused(self) -> bool:
        return self.status >= 400

    @property
    def request_id(self) -> str:
        return self.headers.get("x-openstack-request-id") or self.headers.get("x-compute-request-id", "")


def complaint(api: str, call: Call, answer: Answer) -> str:
    """What is wrong with the answer itself; empty: nothing."""
    if answer.status >= 500 and answer.status not in (501, 503):
        return f"{answer.status}"
    if not answer.refused or call.method == "HEAD":
        return ""
    if api == "image" and _PAGE.fullmatch(answer.body):  # what Glance says in HTML
        return ""
    try:
        body = orjson.loads(answer.body)
    except ValueError:
        return f"the refusal is not JSON: {answer.body[:200]!r}"
    if not _message(api, body):
        return f"the refusal is not in the API's form, or says nothing: {answer.body[:200]!r}"
    return "" if answer.request_id else "the refusal has no request id"


def _message(api: str, body: Any) -> str:
    match api, body:
        case "identity", {"error": {"code": int(), "title": str(), "message": str(message)}}:
            return message
        case "network", {"NeutronError": {"type": str(), "message": str(message), "detail": str()}}:
            return message
        case "compute", dict():
            inner = next(iter(body.values()))
            return str(inner.get("message", "")) if isinstance(inner, dict) and "code" in inner else ""
        case "placement", {"errors": [{"status": int(), "title": str(), "detail": str(message)}]}:
            return message
        case "image", {"code": str(), "title": str(), "message": str(message)}:
            return message
    return ""


class Watcher:
    """Sees what etcd held before and after."""

    def __init__(self, config: Config) -> None:
        self._etcd: Etcd = connect(config.etcd)

    async def close(self) -> None:
        await self._etcd.close()

    async def revision(self) -> int:
        return await self._etcd.revision()

    async def quiet(self) -> int:
        """The revision once nothing is written any more."""
        deadline = time.monotonic() + _PATIENCE_S
        last, since = await self.revision(), time.monotonic()
        while time.monotonic() - since < _QUIET_S and time.monotonic() < deadline:
            now = await self.revision()
            if now != last:
                last, since = now, time.monotonic()
        return last

    async def changes(self, first: int, last: int) -> list[Event]:
        """What was written from the revision after first to last."""
        found: list[Event] = []
        if first == last:
            return found
        watch = self._etcd.watch("/fabric/", first + 1)
        async for _, events in watch:
            found += [event for event in events if event.revision <= last]
            if events[-1].revision >= last:
                break
        await watch.aclose()  # type: ignore[attr-defined]
        return found


class Callers:
    """An administrator and a plain user of one cloud."""

    def __init__(self, admin: Owner, demo: Owner, vital: Mapping[str, list[str]], throwaway: str) -> None:
        self.owners = {"admin": admin, "demo": demo}
        self._vital = vital
        self._throwaway = throwaway

    def world(self, name: str) -> World:
        """As this caller sees it."""
        owner = self.owners[name]
        other = next(o for o in self.owners.values() if o is not owner)
        tokens = {"own": owner.http.token, "throwaway": self._throwaway}
        return World(owner.own, other.own, self._vital, tokens)

    def send(self, name: str, call: Call) -> Answer:
        """As this caller's connection; the token is in the call's headers."""
        http = self.owners[name].http
        return Answer(*http.exchange(call.method, call.path, call.body, dict(call.headers)))


def exceptions(log: bytes) -> Iterator[str]:
    """Lines that only a bug writes."""
    for line in log.splitlines():
        if b'"exception"' in line or b"Traceback" in line:
            yield line.decode(errors="replace")[-2000:]
