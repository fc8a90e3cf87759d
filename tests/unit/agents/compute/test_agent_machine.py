"""Whatever happens to a server in whatever order: left alone, it ends as the last call asked for."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents.compute.driver import PAUSED, RUNNING, STOPPED, SUSPENDED, Power
from agents.compute.step import STATES
from fabric.compute.v1 import server_pb2 as pb
from tests.unit.agents.compute.agents import Bench
from tests.unit.agents.compute.wants import SERVER_ID, a_nic, a_want

NICS = tuple(a_nic(f"{n}b0f2b6e-1111-4222-8333-944445555666", f"fa:16:3e:00:00:0{n}") for n in range(3))


class ServerMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.bench = self.run(make_bench())
        self.want: pb.ServerWant | None = None
        self.off_by_itself = False

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def bind(self) -> None:
        assert self.want is not None
        self.want.server.meta.generation += 1
        self.bench.store.bind(SERVER_ID, self.want)
        self.off_by_itself = False

    @precondition(lambda self: self.want is None)
    @rule()
    def create(self) -> None:
        self.want = a_want(generation=0)
        self.bind()

    @precondition(lambda self: self.want is not None)
    @rule(power=st.sampled_from([RUNNING, STOPPED, PAUSED, SUSPENDED]))
    def ask_for(self, power: Power) -> None:
        assert self.want is not None
        self.want.server.spec.power = power
        self.bind()

    @precondition(lambda self: self.want is not None)
    @rule(hard=st.booleans())
    def reboot(self, hard: bool) -> None:
        assert self.want is not None
        self.want.server.spec.reboot_count += 1
        self.want.server.spec.reboot_hard = hard
        self.bind()

    @precondition(lambda self: self.want is not None)
    @rule(chosen=st.sets(st.integers(0, len(NICS) - 1)))
    def plug(self, chosen: set[int]) -> None:
        assert self.want is not None
        del self.want.server.nics[:]
        self.want.server.nics.extend(NICS[n] for n in sorted(chosen))
        self.bind()

    @rule()
    def restart_agent(self) -> None:
        self.bench.restart()

    @rule()
    def reboot_node(self) -> None:
        for server_id, domain in self.bench.fake.domains.items():
            if domain.found.power in (RUNNING, PAUSED):
                self.bench.fake.power_off_from_inside(server_id)
        self.bench.machine.boot_id += "+"
        self.bench.restart()

    @rule(obeys=st.booleans())
    def guests_change_their_mind(self, obeys: bool) -> None:
        self.bench.fake.settings.obeys_button = obeys

    @rule(times=st.integers(1, 3))
    def take_steps(self, times: int) -> None:
        for _ in range(times):
            self.run(self.bench.agent.reconcile(SERVER_ID))

    @precondition(lambda self: self.want is not None)
    @rule()
    def comes_to_rest_as_asked(self) -> None:
        assert self.want is not None
        self.run(rest(self.bench))
        status, spec = self.bench.status(SERVER_ID), self.want.server.spec
        assert status.observed_generation == self.want.server.meta.generation
        assert status.reboot_count == spec.reboot_count
        assert status.state == STATES[spec.power or RUNNING]
        if spec.power != SUSPENDED:
            assert sorted(status.port_ids) == sorted(nic.port_id for nic in self.want.server.nics)

    @precondition(lambda self: self.want is not None)
    @rule()
    def delete(self) -> None:
        assert self.want is not None
        self.want.server.meta.delete_time.GetCurrentTime()
        self.bind()
        self.run(rest(self.bench))
        assert self.bench.status(SERVER_ID).released
        assert not self.bench.fake.domains
        self.bench.store.unbind(SERVER_ID)
        self.want = None

    @invariant()
    def never_in_error(self) -> None:
        assert all(status.state != pb.ServerStatus.STATE_ERROR for _, status in self.bench.store.reports)


async def make_bench() -> Bench:
    return Bench()


async def rest(bench: Bench) -> None:
    for _ in range(4):
        await bench.settle(SERVER_ID)
        for _ in range(3):  # work beside the loop ends
            await asyncio.sleep(0)


TestServerMachine = ServerMachine.TestCase
TestServerMachine.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
