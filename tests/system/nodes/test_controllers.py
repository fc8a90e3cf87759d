"""Controllers and gateways in any number: which of them is killed is not noticed by who repeats no call."""

import http.client
import itertools
import threading
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

from fabric.ctl.bed import Lab
from fabric.ctl.plan import SUPERVISOR
from tests.http_client import Http, Refused
from tests.processes import wait_for
from tests.size import size
from tests.system.faults.tenant import Tenant
from tests.system.nodes.conftest import There
from tests.system.nodes.probe import answers, controllers

ROUNDS = size("FABRIC_FAULT_ROUNDS", 4, 40)  # kills
VICTIMS = [("node1", "controller"), ("node2", "controller"), ("node1", "gateway"), ("node2", "gateway")]
NETWORKS = "/network/v2.0/networks"


class Client:
    """Knows the address of each gateway: asks the next one when one does not answer.

    What a repeated DELETE does not find was deleted by the first try.
    """

    def __init__(self, urls: Sequence[str], token: str) -> None:
        self._https = [Http(url, timeout_s=20) for url in urls]
        for http_ in self._https:
            http_.token = token

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Raises Refused; OSError when no gateway answers."""
        first, *others = self._https
        try:
            return first.call(method, path, body)
        except (OSError, http.client.HTTPException):
            self._https = [*others, first]
            try:
                return others[0].call(method, path, body)
            except Refused as refused:
                if method == "DELETE" and refused.status == 404:
                    return None
                raise

    def close(self) -> None:
        for http_ in self._https:
            http_.close()


class Load(threading.Thread):
    """One user at work: makes a network (until it is made), renames, reads, lists and deletes it."""

    def __init__(self, client: Client) -> None:
        super().__init__()
        self._client = client
        self._ended = threading.Event()
        self.failed: list[str] = []
        self.calls = 0

    def run(self) -> None:
        while not self._ended.is_set():
            name = uuid.uuid4().hex
            id_ = self._make(name)
            path = f"{NETWORKS}/{id_}"
            self._try("PUT", path, {"network": {"name": f"{name}-2"}})
            self._try("GET", path)
            self._try("GET", f"{NETWORKS}?name={name}-2")
            self._try("GET", "/compute/v2.1/servers/detail")
            self._try("DELETE", path)
        self._client.close()

    def has_called(self, calls: int) -> bool:
        return self.calls > calls

    def end(self) -> None:
        self._ended.set()
        self.join()

    def _make(self, name: str) -> str:
        """A create is not idempotent: who wants to know looks whether it was done."""
        for _ in range(10):
            try:
                made = self._client.call("POST", NETWORKS, {"network": {"name": name}})
                return str(made["network"]["id"])
            except (Refused, OSError, http.client.HTTPException):
                found = self._client.call("GET", f"{NETWORKS}?name={name}")["networks"]
                if found:
                    return str(found[0]["id"])
        raise AssertionError("no network could be made")

    def _try(self, method: str, path: str, body: Any = None) -> None:
        self.calls += 1
        try:
            self._client.call(method, path, body)
        except (Refused, OSError, http.client.HTTPException) as error:
            self.failed.append(f"{method} {path}: {error!r}")


def known(lab: Lab, there: There, node: str, wanted: set[str]) -> bool:
    """Whether these, by the names of their nodes, are the controllers that gateways are told of."""
    return bool(there(controllers, lab.config(node)) == wanted)


def another(lab: Lab, node: str, program: str, old: int) -> bool:
    return lab.pid(node, program) != old


def test_no_idempotent_call_fails_while_controllers_and_gateways_are_killed(
    lab: Lab, there: There, admin: Tenant
) -> None:
    urls = [f"http://{lab.config(name).gateway.listen}" for name in ("node1", "node2")]
    loads = [Load(Client(urls, admin.http.token)), Load(Client(urls[::-1], admin.http.token))]
    for load in loads:
        load.start()
    try:
        for node, program in itertools.islice(itertools.cycle(VICTIMS), ROUNDS):
            old, config = lab.pid(node, program), lab.config(node)
            lab.kill_program(node, program)
            wait_for(partial(another, lab, node, program, old), 30, f"another {program} of {node}")
            wait_for(partial(there, answers, config, program), 30, f"{program} of {node} to answer")
    finally:
        for load in loads:
            load.end()
    print(f"{sum(load.calls for load in loads)} calls, {ROUNDS} kills")
    assert [load.failed for load in loads] == [[], []]


def test_controller_that_joins_takes_over_from_the_one_that_is_killed(
    lab: Lab, there: There, admin: Tenant
) -> None:
    """The gateway of node1 was never told of it."""
    supervisor = lab.pid("node1", SUPERVISOR)
    for name in ("node1", "node2"):
        lab.kill_program(name, SUPERVISOR)
    load = Load(Client([f"http://{lab.config('node1').gateway.listen}"], admin.http.token))
    lab.kill_program("node2", "controller")
    wait_for(partial(known, lab, there, "node1", {"node1"}), 30, "the killed controller to be forgotten")
    load.start()
    try:
        lab.fabricctl("node2", "up", "--without-guest")
        wait_for(
            partial(known, lab, there, "node1", {"node1", "node2"}), 30, "the new controller to be known"
        )
        lab.kill_program("node1", "controller")
        wait_for(partial(load.has_called, load.calls + 10), 30, "calls that the new controller answers")
        wait_for(partial(known, lab, there, "node1", {"node2"}), 30, "the killed controller to be forgotten")
    finally:
        load.end()
        lab.fabricctl("node1", "up", "--without-guest")
    assert load.failed == []
    assert lab.pid("node1", SUPERVISOR) != supervisor
