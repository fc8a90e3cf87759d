"""Keep each server that is bound to this node equal to its spec."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from agents.compute.base_image import BaseImages
from agents.compute.driver import RUNNING, ComputeDriver, Found, HypervisorRefused, ImageUnusable, Piece
from agents.compute.guest_password import GuestPasswords
from agents.compute.image_cache import ImageCache
from agents.compute.node import Node
from agents.compute.orphan import Orphans
from agents.compute.patience import Buttons, Failures
from agents.compute.report import Reports
from agents.compute.settings import ComputeSettings
from agents.compute.snapshot import SendCopy, Snapshots
from agents.compute.step import (
    Around,
    Step,
    guest_stopped,
    marks_reached,
    missing_nics,
    next_step,
    observed,
    reboot_pending,
    surplus_ports,
    transfer_status,
)
from agents.compute.transfer import FetchFiles, Transfers
from agents.compute.work import Work
from agents.fence import Fence
from fabric.compute.v1 import server_pb2 as pb
from fabric.runtime.errors import FabricError, LeaseLost, PoolFull, Unavailable
from fabric.runtime.reconcile import Loop

log = structlog.get_logger(__name__)

AGAIN = timedelta(0)
_SOON = timedelta(milliseconds=200)
_GUEST_POLL = timedelta(seconds=1)
_UNPLUG_EVERY = timedelta(seconds=5)
_TAP_POLL = timedelta(seconds=1)  # only in case that a change was missed
_IO_ERROR_PAUSE = timedelta(seconds=10)
_REFUSALS = 3  # after so many it is an error
_REFUSED_PAUSE = timedelta(seconds=1)


_PROGRESS_EVERY = timedelta(seconds=1)
_QUIET = (  # logged when they act
    Step.SETTLE,
    Step.WAIT,
    Step.WAIT_FOR_TAPS,
    Step.PRESS_BUTTON,
    Step.UNPLUG,
    Step.REPORT_TRANSFER,
    Step.WAIT_FOR_COPY,
)


async def no_files(server_id: str, transfer: pb.Transfer) -> AsyncIterator[Piece]:
    """For agents without a way to others."""
    raise Unavailable("there is no way to other nodes", server=server_id)
    yield


async def no_images(snapshot: pb.SnapshotWant, size_bytes: int, pieces: AsyncIterator[bytes]) -> None:
    """For agents without a way to image agents."""
    raise Unavailable("there is no way to image agents", image=snapshot.image_id)


class Servers(Protocol):
    """What the agent needs of fabric.runtime.node.NodeStore."""

    def get(self, id_: str, /) -> pb.ServerWant | None: ...
    def ids(self) -> list[str]: ...
    def status(self, id_: str, /) -> pb.ServerStatus | None: ...
    async def report(self, id_: str, status: pb.ServerStatus, /) -> None: ...
    def on_change(self, callback: Callable[[str], None], /) -> None: ...


class ComputeAgent:
    """Told which server to look at, never what happened to it.

    Wiring: `store` is a NodeStore of "servers" in service "compute" (ServerWant, ServerStatus) whose cache
    has listed once; then `await agent.run()` in the process's TaskGroup. It ends with LeaseLost, or when
    cancelled; guests run on. Without an image cache every server gets an empty disk, which is what the
    fake driver needs.
    """

    def __init__(
        self,
        store: Servers,
        driver: ComputeDriver,
        images: ImageCache | None,
        settings: ComputeSettings,
        node: Node | None = None,
        fetch_files: FetchFiles = no_files,
        send_copy: SendCopy = no_images,
        fence: Fence | None = None,
    ) -> None:
        self._store = store
        self._driver = driver
        self._settings = settings
        self._node = node or Node()
        self._fence = fence
        self._loop = Loop("compute", self.reconcile, self._ids, concurrency=settings.concurrency)
        self.passwords = GuestPasswords(store, self._loop.wake)
        self._work = Work(self._loop.wake)
        self._bases = BaseImages(images, self._work)
        self._transfers = Transfers(driver, self._work, fetch_files)
        self._snapshots = Snapshots(driver, self._work, send_copy)
        self._reports = Reports(store, self.passwords, self._snapshots)
        self._buttons = Buttons(
            self._node.clock, 2 * max(settings.stop_timeout, settings.soft_reboot_timeout) + _GUEST_POLL
        )
        self._failures = Failures(self._node.clock)
        self._waits: dict[str, float] = {}
        self._orphans = Orphans(driver, self._node.clock, settings.orphan_grace)

    async def run(self) -> None:
        """Reconcile until cancelled or until the lease is lost."""
        self._store.on_change(self._loop.wake)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow_driver())
                tasks.create_task(self._follow_taps())
                tasks.create_task(self._sweep())
                tasks.create_task(self._loop.run())
        except* LeaseLost as lost:
            raise lost.exceptions[0] from None
        finally:
            await self._work.close()
            await self._bases.close()

    def wake(self, server_id: str) -> None:
        """Look at the server soon."""
        self._loop.wake(server_id)

    async def reconcile(self, server_id: str) -> timedelta | None:
        """Take one step. Returns when to look again; None: at the next change.

        Raises Unavailable (etcd, hypervisor), ChangedMeanwhile and LeaseLost; never retries.
        """
        want = self._store.get(server_id)
        if want is None:
            again = await self._orphans.leave(server_id)
            if again is None:
                self._forget(server_id)
            return again
        self._orphans.forget(server_id)
        if (pause := self._failures.pause_left(want.server.meta)) is not None:
            return pause
        found = await self._driver.find(server_id)
        around = self._around(want, found)
        step = next_step(want, found, around)
        if step not in _QUIET:
            log.info(
                "server step",
                server=server_id,
                step=step.name,
                generation=want.server.meta.generation,
                request_id=want.server.meta.request_id,
            )
        if step not in (Step.WAIT, Step.WAIT_FOR_TAPS):
            self._waits.pop(server_id, None)
        try:
            return await self._take(step, want, found, around)
        except (HypervisorRefused, ImageUnusable, PoolFull) as error:
            return await self._fail(want, found, error)

    async def _take(
        self, step: Step, want: pb.ServerWant, found: Found | None, around: Around
    ) -> timedelta | None:
        server, server_id = want.server, want.server.meta.id
        match step:
            case Step.FORGET:
                self._forget(server_id)
                released = pb.ServerStatus(released=True, observed_generation=server.meta.generation)
                await self._reports.say(want, None, released)
                return None
            case Step.REMOVE:
                await self._snapshots.stop(server_id)
                await self._driver.remove(server_id)
                return AGAIN
            case Step.FETCH:
                return await self._fetch(want, want.image, found)
            case Step.FETCH_RESCUE:
                return await self._fetch(want, want.rescue_image, found)
            case Step.MAKE_RESCUE_DISK:
                await self._make_rescue_disk(want)
                return AGAIN
            case Step.MAKE_DISK:
                await self._make_disk(want)
                return AGAIN
            case Step.RECEIVE:
                return await self._receive(want)
            case Step.REPORT_TRANSFER:
                return await self._report_transfer(want, found, around)
        assert found is not None
        return await self._act(step, want, found, around)

    async def _act(self, step: Step, want: pb.ServerWant, found: Found, around: Around) -> timedelta | None:
        """A step with what is there."""
        server, server_id = want.server, want.server.meta.id
        match step:
            case Step.SETTLE | Step.UNPLUG:
                return await self._settle(want, found, step)
            case Step.WAIT if want.transfer.role == pb.Transfer.ROLE_SEND:
                if want.transfer.forced:
                    await self._driver.hurry(server_id)
                await self._report_transfer(want, found, around)
                return _PROGRESS_EVERY
            case Step.SEND:
                self._transfers.send(want)
                return _SOON
            case Step.COPY_DISK:
                await self._snapshots.copy(want)
                await self._reports.say(want, found, observed(server, found, settled=False))
                return None  # woken when it is done
            case Step.WAIT_FOR_COPY:
                await self._reports.say(want, found, observed(server, found, settled=False))
                return None
            case Step.SEND_COPY:
                self._snapshots.send(want)
            case Step.CLEAN:
                if not want.snapshot.image_id:
                    await self._snapshots.stop(server_id)
                rescue = server.rescue.generation != 0
                await self._driver.clean(server_id, want.snapshot.image_id, rescue=rescue)
            case Step.STOP_SENDING:
                await self._driver.stop_sending(server_id)
                return _SOON
            case Step.WAIT:
                await self._wait(want, found, "WAITING_FOR_HYPERVISOR", "The hypervisor is changing it.")
                return _SOON
            case Step.WAIT_FOR_TAPS:
                await self._wait(want, found, "WAITING_FOR_PORT", "A port is not ready on this node.")
                return _TAP_POLL
            case Step.PRESS_BUTTON:
                return await self._press_button(want, found)
            case Step.SUSPEND:
                return self._suspend(server_id)
            case Step.RESUME if found.why == "IOERROR":
                await self._driver.ensure_power(server_id, RUNNING)
                return _IO_ERROR_PAUSE
            case Step.DEFINE:
                marks = replace(found.marks, rescue=server.rescue.generation)
                await self._driver.ensure_defined(want, marks)
            case Step.START:
                await self._start(want, found)
            case Step.STOP:
                await self._driver.ensure_power(server_id, pb.ServerSpec.POWER_STOPPED)
                self._buttons.note(server)
            case Step.PAUSE:
                await self._driver.ensure_power(server_id, pb.ServerSpec.POWER_PAUSED)
            case Step.RESUME:
                await self._driver.ensure_power(server_id, RUNNING)
            case Step.PLUG:
                for nic in missing_nics(server, found, around):
                    await self._driver.ensure_nic(server_id, nic)
            case Step.MARK:
                marks = marks_reached(server, found, around)
                if found.power == RUNNING and marks.launch_time is None:
                    marks = replace(marks, launch_time=datetime.now(UTC))
                await self._driver.ensure_marks(server_id, marks)
        return AGAIN  # look again: believe what is found, not what was asked

    async def _fetch(
        self, want: pb.ServerWant, image: pb.ImageSource, found: Found | None
    ) -> timedelta | None:
        self._bases.fetch(want.server.meta.id, image)
        await self._reports.say(
            want, found, observed(want.server, found, settled=False, reason="FETCHING_IMAGE")
        )
        return None  # woken when it is done

    async def _make_disk(self, want: pb.ServerWant) -> None:
        has_base, base = self._bases.find(want.image)
        if has_base:
            await self._driver.ensure_disk(want, base)

    async def _make_rescue_disk(self, want: pb.ServerWant) -> None:
        has_base, base = self._bases.find(want.rescue_image)
        if has_base:
            await self._driver.ensure_rescue_disk(want, base)

    async def _receive(self, want: pb.ServerWant) -> timedelta | None:
        has_base, base = self._bases.find(want.image)
        if not has_base:
            return AGAIN
        self._transfers.receive(want, base)
        await self._reports.say(
            want, None, observed(want.server, None, settled=False, reason="RECEIVING_DISKS")
        )
        return None  # woken when it is done

    async def _report_transfer(
        self, want: pb.ServerWant, found: Found | None, around: Around
    ) -> timedelta | None:
        status = observed(want.server, found, settled=False)
        status.transfer.CopyFrom(transfer_status(want, found, around))
        status.transfer.directory = await self._driver.directory(want.server.meta.id)
        await self._reports.say(want, found, status)
        prepared = status.transfer.state == pb.TransferStatus.STATE_PREPARED
        return _SOON if prepared and want.transfer.role == pb.Transfer.ROLE_RECEIVE else None

    async def _start(self, want: pb.ServerWant, found: Found) -> None:
        server = want.server
        if found.power == pb.ServerSpec.POWER_STOPPED:
            reboot_count = max(found.marks.reboot_count, server.spec.reboot_count)
            await self._driver.ensure_defined(want, replace(found.marks, reboot_count=reboot_count))
        await self._driver.ensure_power(server.meta.id, RUNNING)
        self._buttons.forget(server.meta.id)
        if self._fence is not None:
            self._fence.started(server.meta.id)

    def _suspend(self, server_id: str) -> timedelta | None:
        """Saving the memory takes its time, and a delete must not wait for it."""
        key = f"suspend {server_id}"
        self._work.raise_failure(key)
        self._work.start(
            key, server_id, lambda: self._driver.ensure_power(server_id, pb.ServerSpec.POWER_SUSPENDED)
        )
        return None

    async def _press_button(self, want: pb.ServerWant, found: Found) -> timedelta:
        server = want.server
        if self._buttons.due(server):
            log.info("power button pressed", server=server.meta.id, request_id=server.meta.request_id)
            await self._driver.press_power_button(server.meta.id)
        elif self._buttons.worth_telling(server.meta.id):
            await self._report_waiting(want, found, "WAITING_FOR_GUEST", "The guest was asked to power off.")
        return _GUEST_POLL

    async def _wait(self, want: pb.ServerWant, found: Found, reason: str, message: str) -> None:
        """Say what is waited for, once that takes longer than usual."""
        now = self._node.clock()
        if now - self._waits.setdefault(want.server.meta.id, now) >= 1:
            await self._report_waiting(want, found, reason, message)

    async def _settle(self, want: pb.ServerWant, found: Found, step: Step) -> timedelta | None:
        server, server_id = want.server, want.server.meta.id
        reason, message = "", ""
        if guest_stopped(server, found):
            reason = "GUEST_CRASHED" if found.why in ("CRASHED", "FAILED") else "GUEST_STOPPED"
            message = f"The guest is off though it was not asked to be: {found.why or 'UNKNOWN'}."
        surplus = surplus_ports(server, found) if step is Step.UNPLUG else []
        if surplus:
            reason, message = "WAITING_FOR_GUEST", f"The guest still holds port {', '.join(surplus)}."
            for port_id in surplus:
                log.info(
                    "unplug asked for", server=server_id, port=port_id, request_id=server.meta.request_id
                )
                await self._driver.remove_nic(server_id, port_id)
            found = await self._driver.find(server_id) or found
            if not surplus_ports(server, found):
                return AGAIN
        self._failures.forget(server_id)
        status = observed(server, found, settled=True, reason=reason, message=message)
        await self._reports.say(want, found, status)
        return _UNPLUG_EVERY if surplus else None

    async def _fail(self, want: pb.ServerWant, found: Found | None, error: FabricError) -> timedelta:
        server = want.server
        times = self._failures.times(server.meta) + 1
        again_soon = isinstance(error, HypervisorRefused) and times < _REFUSALS
        retry = _REFUSED_PAUSE if again_soon else self._settings.retry_failed_after
        self._failures.note(server.meta, retry)
        log.error(
            "server failed",
            server=server.meta.id,
            reason=error.reason,
            cause=error.message,
            times=times,
            request_id=server.meta.request_id,
            **{f"fact_{name}": value for name, value in error.facts.items()},
        )
        if again_soon:  # it may have been a hypervisor in the middle of its own restart
            return retry
        status = observed(server, found, settled=True, reason=error.reason, message=error.message)
        status.state = pb.ServerStatus.STATE_ERROR
        if want.transfer.role:
            status.transfer.migration_id = want.transfer.migration_id
            status.transfer.state, status.transfer.message = status.transfer.STATE_FAILED, error.message
        await self._reports.say(want, found, status)
        return retry

    async def _report_waiting(self, want: pb.ServerWant, found: Found, reason: str, message: str) -> None:
        status = observed(want.server, found, settled=False, reason=reason, message=message)
        await self._reports.say(want, found, status)

    def _around(self, want: pb.ServerWant, found: Found | None) -> Around:
        server = want.server
        soft_reboot = found is not None and reboot_pending(server, found)
        limit = self._settings.soft_reboot_timeout if soft_reboot else self._settings.stop_timeout
        return Around(
            boot_id=self._node.boot_id,
            image_ready=self._bases.ready(want.image),
            rescue_image_ready=self._bases.ready(want.rescue_image),
            taps=self._node.existing_taps(nic.tap for nic in server.nics),
            button_pressed=self._buttons.pressed(server.meta.id),
            patience_over=self._buttons.ignored(server, limit),
            fenced=self._fence is not None and self._fence.was_ended(server.meta.id),
            sending=self._transfers.sending(server.meta.id),
            send_failed=self._transfers.failed(want),
            copying=self._snapshots.copying(want),
            copy_failed=self._snapshots.failed(want),
            copy_unsent=self._snapshots.unsent(want),
        )

    def _forget(self, server_id: str) -> None:
        self._buttons.forget(server_id)
        self._failures.forget(server_id)
        self._transfers.forget(server_id)
        self._snapshots.forget(server_id)
        self._waits.pop(server_id, None)
        self._orphans.forget(server_id)
        self.passwords.forget(server_id)

    def _ids(self) -> list[str]:
        return [
            *self._store.ids(),
            *(orphan for orphan in self._orphans.ids() if self._store.get(orphan) is None),
        ]

    async def _follow_driver(self) -> None:
        async for server_id in self._driver.events():
            if server_id:
                self._loop.wake(server_id)
            else:
                self._loop.wake_all()

    async def _follow_taps(self) -> None:
        async for _ in self._node.tap_changes():
            for server_id in list(self._waits):
                self._loop.wake(server_id)

    async def _sweep(self) -> None:
        """Look now and then for what nobody wants: domains, files, images."""
        while True:
            try:
                found = await self._driver.ids()
                await self._bases.sweep()
            except FabricError as error:
                log.warning("sweep failed", reason=error.reason, cause=error.message)
                found = []
            except OSError as error:  # a disk that is full or broken is no reason to end the rest
                log.warning("sweep failed", cause=str(error))
                found = []
            for server_id in found:
                if self._store.get(server_id) is None:
                    self._loop.wake(server_id)
            await asyncio.sleep(self._settings.sweep_every.total_seconds())
