"""Whatever is asked of the real services, by an administrator or a plain user: an answer in the API's words.

No answer is a 5xx other than 501 and 503, a refusal changes nothing, and is one line in the gateway's log.
"""

import asyncio
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fabric.ctl.sweep import sweep
from fabric.runtime.config import load
from gateway.__main__ import apis
from gateway.core.dialect import Api
from gateway.core.route import Route
from tests.functional.fuzz.calls import Call, calls
from tests.functional.fuzz.world import Answer, Callers, Watcher, complaint, exceptions
from tests.processes import ProcessCloud

EXAMPLES = int(os.environ.get("FABRIC_FUZZ_EXAMPLES", "8"))  # of each route
ROUTES = [(api, route) for api in apis() for route in api.routes]
REFUSED: list[str] = []  # request ids, for the log


@pytest.mark.parametrize(
    ("api", "route"), ROUTES, ids=[f"{api.name} {route.method} {route.path}" for api, route in ROUTES]
)
def test_any_request_is_answered_well(
    api: Api, route: Route, callers: Callers, watcher: Watcher, loop: asyncio.Runner
) -> None:
    @settings(max_examples=EXAMPLES, database=None, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(["admin", "demo"]))
        call = data.draw(calls(api, route, callers.world(name)))
        before = loop.run(watcher.revision())
        answer = callers.send(name, call)
        assert not complaint(api.name, call, answer), told(name, call, answer)
        if answer.refused:
            REFUSED.append(answer.request_id)
            if loop.run(watcher.revision()) != before:
                changed = loop.run(again(callers, watcher, name, call))
                assert not changed, f"{told(name, call, answer)} changed {changed}"

    ask()


async def again(callers: Callers, watcher: Watcher, name: str, call: Call) -> list[str]:
    """The keys that the refused request changes when nobody else writes; none if it is not refused now."""
    before = await watcher.quiet()
    answer = callers.send(name, call)
    after = await watcher.revision()
    if not answer.refused:
        return []
    return [event.key for event in await watcher.changes(before, after)]


def told(name: str, call: Call, answer: Answer) -> str:
    """For a failure's message."""
    body = call.body if call.body is None or len(call.body) < 1000 else call.body[:1000]
    return f"{name}: {call.method} {call.path[:500]} {body!r} -> {answer.status} {answer.body[:500]!r}"


def test_each_refusal_was_one_line_in_the_log_and_nothing_broke(cloud: ProcessCloud) -> None:
    assert REFUSED
    lines = (cloud.logs / "gateway.log").read_text().splitlines()
    logged = {id_: [line for line in lines if id_ in line] for id_ in set(REFUSED[-2000:])}
    assert {id_: found for id_, found in logged.items() if len(found) != 1} == {}
    for name in ("gateway", "controller", "agent"):
        assert list(exceptions((cloud.logs / f"{name}.log").read_bytes())) == []


def test_nothing_is_left_over(cloud: ProcessCloud) -> None:
    assert asyncio.run(sweep(load(cloud.config))) == []
