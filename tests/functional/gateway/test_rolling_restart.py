"""Claim C13: controllers and gateways start anew, one after the other, and no call of whoever works meanwhile fails."""

import http.client
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.functional.etcd import free_port
from tests.http_client import Http, Refused
from tests.processes import MODULES, PASSWORD, ROOT, ProcessCloud, wait_for
from tests.size import size

NETWORKS = "/network/v2.0/networks"
ROUNDS = size("FABRIC_FAULT_ROUNDS", 1, 20)  # restarts of all four
CALLS = 30


class Machine:
    """Another controller and gateway of the cloud."""

    def __init__(self, cloud: ProcessCloud) -> None:
        self._config = cloud.directory / "second.toml"
        self._logs = cloud.logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        text = cloud.config.read_text()
        for section in ("controller", "gateway"):
            port = free_port()
            head, _, tail = text.partition(f'[{section}]\nlisten = "127.0.0.1:')
            text = f'{head}[{section}]\nlisten = "127.0.0.1:{port}{tail[tail.index(chr(34)) :]}'
        self.url = f"http://127.0.0.1:{port}"
        self._config.write_text(text)

    def start_process(self, name: str) -> None:
        words = [sys.executable, "-m", MODULES[name], "--config", str(self._config)]
        with (self._logs / f"second-{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(words, stdout=log, stderr=log, cwd=ROOT)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        process = self._running.pop(name)
        process.send_signal(number)
        process.wait(30)

    def __enter__(self) -> Self:
        for name in ("controller", "gateway"):
            self.start_process(name)
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.kill(name)


class Work(threading.Thread):
    """Makes, renames, lists and deletes networks; goes to the next gateway only when one takes no connection."""

    def __init__(self, urls: list[str], token: str) -> None:
        super().__init__()
        self._https = deque(Http(url, timeout_s=20) for url in urls)
        for each in self._https:
            each.token = token
        self._ended = threading.Event()
        self.calls = 0
        self.failed: list[str] = []

    def run(self) -> None:
        while not self._ended.is_set():
            made = self._call("POST", NETWORKS, {"network": {"name": uuid4().hex}})
            path = f"{NETWORKS}/{made['network']['id']}" if made else NETWORKS
            if made:
                self._call("PUT", path, {"network": {"name": "another"}})
                self._call("DELETE", path)
            self._call("GET", NETWORKS)

    def has_called(self, calls: int) -> bool:
        return self.calls > calls

    def end(self) -> None:
        self._ended.set()
        self.join()
        for each in self._https:
            each.close()

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        self.calls += 1
        for _ in range(len(self._https)):
            try:
                return self._https[0].call(method, path, body)
            except ConnectionRefusedError:
                self._https.rotate(-1)
            except (Refused, OSError, http.client.HTTPException) as error:
                self.failed.append(f"{method} {path}: {error!r}")
                return None
        self.failed.append(f"{method} {path}: no gateway takes a connection")
        return None


class Knocks(threading.Thread):
    """Connects for each request, as browsers behind a balancer do."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._host = urlsplit(url).netloc
        self._ended = threading.Event()
        self.answered = 0
        self.failed: list[str] = []

    def run(self) -> None:
        while not self._ended.is_set():
            connection = http.client.HTTPConnection(self._host, timeout=20)
            try:
                connection.request("GET", "/healthz")
                self.answered += connection.getresponse().status == 200
            except ConnectionRefusedError:
                self._ended.wait(0.02)  # nobody listens
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            finally:
                connection.close()

    def has_been_answered(self, times: int) -> bool:
        return self.answered > times

    def end(self) -> None:
        self._ended.set()
        self.join()


def answers(url: str, token: str) -> bool:
    try:
        with Http(url) as client:
            client.token = token
            client.call("GET", NETWORKS)
    except (OSError, RuntimeError):
        return False
    return True


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[ProcessCloud]:
    with ProcessCloud(tmp_path) as made:
        yield made


def test_no_call_fails_while_controllers_and_gateways_are_restarted(cloud: ProcessCloud) -> None:
    with Machine(cloud) as second, Http(cloud.url) as client:
        client.login("admin", PASSWORD, "admin")
        urls = [cloud.url, second.url]
        wait_for(partial(answers, second.url, client.token), 60, "the second gateway")
        works = [Work(urls, client.token), Work(urls[::-1], client.token)]
        for work in works:
            work.start()
        try:
            machines: list[ProcessCloud | Machine] = [cloud, second]
            for machine in machines * ROUNDS:
                for name in ("gateway", "controller"):
                    for work in works:
                        wait_for(partial(work.has_called, work.calls + CALLS), 60, "calls")
                    machine.kill(name, signal.SIGTERM)
                    machine.start_process(name)
                    wait_for(partial(answers, machine.url, client.token), 60, f"the new {name}")
        finally:
            for work in works:
                work.end()
    print(f"{sum(work.calls for work in works)} calls")
    assert [work.failed for work in works] == [[], []]


def test_no_connection_that_a_gateway_has_taken_is_left_without_an_answer(cloud: ProcessCloud) -> None:
    clients = [Knocks(cloud.url) for _ in range(6)]
    for client in clients:
        client.start()
    try:
        for _ in range(2):
            for client in clients:
                wait_for(partial(client.has_been_answered, client.answered + CALLS), 60, "answers")
            cloud.kill("gateway", signal.SIGTERM)
            cloud.start_process("gateway")
    finally:
        for client in clients:
            client.end()
    assert [failure for client in clients for failure in client.failed] == []
