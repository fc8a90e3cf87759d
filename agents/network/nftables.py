"""FilterDriver on nftables: a batch of changes is one transaction; then flows that lost their rule are cut.

The kernel's rule set is read at the start, at each resync and after a refusal; between those, what was
written is remembered. Flows that no rule would accept any more are deleted one by one, so that no permitted
flow notices.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from agents.network import conntrack, flow_check, name
from agents.network.batch import Batch
from agents.network.directory import PortDirectory
from agents.network.driver import Holding, LoggedPacket
from agents.network.filter_model import LOG_GROUP, TABLES, FilterModel, forget_tap, unknown
from agents.network.group_rule import EGRESS, INGRESS
from agents.network.libnftables import Nftables, NftError
from agents.network.nflog import PREROUTING, NflogReader, Packet
from agents.network.ruleset import Ruleset, Wanted, listed, transaction
from fabric.network.v1 import network_pb2, port_pb2, security_group_pb2

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


class NftablesFilter:
    """Works on the network namespace in which it is made."""

    def __init__(self, physical_networks: Mapping[str, str] | None = None) -> None:
        self._physical = physical_networks
        self._thread = ThreadPoolExecutor(1, "nftables")
        self._nftables: Nftables | None = None
        self._model = FilterModel(physical_networks)
        self._directory = PortDirectory()
        self._have: Ruleset | None = None  # None: look at the kernel
        self._kept: Ruleset | None = None  # what adopt left; None: not looked yet
        self._narrowed = True  # something that was permitted may not be so any more
        self._gone: flow_check.Gone = set()
        self._wrote = False
        self._batch = Batch(self._settle)
        self._reader: NflogReader | None = None
        self._tell: Callable[[LoggedPacket], None] | None = None

    async def adopt(
        self,
        networks: Sequence[network_pb2.NetworkWant],
        groups: Sequence[security_group_pb2.SecurityGroupWant],
        members: Mapping[str, security_group_pb2.GroupMember],
        ports: Sequence[port_pb2.Port],
    ) -> None:
        logged = self._model.logged
        self._model, self._directory = FilterModel(self._physical), PortDirectory()
        self._model.logged = logged
        self._have = self._kept = None
        self._narrowed = True
        self._model.networks.update({want.network.meta.id: want for want in networks})
        self._model.groups.update({want.security_group.meta.id: want for want in groups})
        for member_id, member in members.items():
            self._model.put_member(member_id, member)
        for port in ports:
            self._put_port(port)
        await self._batch.run()

    async def forget_unknown(self) -> None:
        if self._kept is None or self._kept.sets or self._kept.chains:
            self._kept = Ruleset()
            await self._batch.run()

    async def resync(self) -> bool:
        self._have = None
        self._wrote = False
        await self._batch.run()
        return self._wrote

    async def ensure_network(self, want: network_pb2.NetworkWant) -> None:
        if self._model.networks.get(want.network.meta.id) != want:
            self._model.networks[want.network.meta.id] = want
            await self._batch.run()

    async def remove_network(self, network_id: str) -> None:
        if self._model.networks.pop(network_id, None) is not None:
            self._model.zones.free(name.bridge(network_id))
            await self._batch.run()

    async def ensure_port(self, port: port_pb2.Port) -> None:
        if self._model.ports.get(port.meta.id) != port:
            self._put_port(port)
            await self._batch.run()

    async def remove_port(self, port_id: str) -> None:
        port = self._model.drop_port(port_id)
        if port is not None:
            self._forget_addresses(port)
            self._directory.forget(port_id)
            await self._batch.run()
        elif self._kept is not None and forget_tap(self._kept, name.tap(port_id)):  # of an earlier life
            await self._batch.run()

    async def ensure_group(self, want: security_group_pb2.SecurityGroupWant) -> None:
        if self._model.groups.get(want.security_group.meta.id) != want:
            self._model.groups[want.security_group.meta.id] = want
            self._narrowed = True
            await self._batch.run()

    async def remove_group(self, group_id: str) -> None:
        if self._model.groups.pop(group_id, None) is not None:
            self._narrowed = True
            await self._batch.run()

    async def ensure_members(self, members: Mapping[str, security_group_pb2.GroupMember | None]) -> None:
        known = self._model.members
        changed = [id_ for id_, member in members.items() if known.get(id_) != member]
        self._narrowed = self._narrowed or any(id_ in known for id_ in changed)
        for id_ in changed:
            if (member := members[id_]) is None:
                self._model.drop_member(id_)
            else:
                self._model.put_member(id_, member)
        if changed:
            await self._batch.run()

    async def find(self) -> list[Holding]:
        have = await self._do(self._read)
        found = []
        for table, set_name in have.sets:
            if set_name == "port":
                taps = have.sets[table, set_name]
                found += [Holding("filter", tap, "port", tap.removeprefix(name.TAP)) for tap in taps]
            elif set_name[:3] in ("m4-", "m6-", "n4-", "n6-"):
                found.append(Holding("set", set_name, "security_group", set_name[3:]))
        return found

    async def listing(self) -> list[dict[str, Any]]:
        """Our tables as the kernel lists them, with handles.

        Equal before and after means that nothing was written.
        """

        def read() -> list[dict[str, Any]]:
            return [item for family, table in TABLES for item in self._kernel.table(family, table)]

        return await self._do(read)

    def on_packet(self, callback: Callable[[LoggedPacket], None]) -> None:
        self._tell = callback

    async def log_ports(self, events: Mapping[str, frozenset[str]]) -> None:
        if events and self._reader is None:
            self._reader = NflogReader(LOG_GROUP)
            self._reader.listen(self._logged)
        if self._model.logged != events:
            self._model.logged = dict(events)
            await self._batch.run()

    def _logged(self, packet: Packet) -> None:
        port_id = self._model.logged_port(packet.mark)
        if port_id is not None and self._tell is not None:
            direction = EGRESS if packet.hook == PREROUTING else INGRESS
            self._tell(LoggedPacket(port_id, packet.prefix, direction, packet.payload))

    async def close(self) -> None:
        """Let go; everything stays in the kernel."""
        if self._reader is not None:
            self._reader.close()

        def close() -> None:
            if self._nftables is not None:
                self._nftables.close()

        await self._do(close)
        self._thread.shutdown()

    def _put_port(self, port: port_pb2.Port) -> None:
        before = self._model.ports.get(port.meta.id)
        if before is not None:
            self._narrowed = True
            self._forget_addresses(before)
        for fixed in port.spec.fixed_ips:
            self._gone.discard((port.spec.network_id, fixed.ip_address))
        self._model.put_port(port)
        self._directory.put(port)

    def _forget_addresses(self, port: port_pb2.Port) -> None:
        self._gone.update((port.spec.network_id, fixed.ip_address) for fixed in port.spec.fixed_ips)

    async def _settle(self) -> None:
        """One transaction for all that changed, then the flows."""
        narrowed, self._narrowed = self._narrowed, False
        gone, self._gone = self._gone, set()
        try:
            if self._have is None:
                self._have = await self._do(self._read)
                self._model.adopt_numbers(self._have)
            want = self._wanted(self._have)
            commands = transaction(self._have, want)
            if commands:
                await self._do(self._apply, commands)
                self._wrote = True
                log.info("filters written", lines=commands.count("\n"))
            self._have = want
            if narrowed or gone:
                await self._cut(gone)
        except BaseException:
            self._have = None
            self._narrowed = self._narrowed or narrowed
            self._gone |= gone
            raise

    def _wanted(self, have: Ruleset) -> Wanted:
        """What the model says, and what was there before us and is not to be touched yet."""
        if self._kept is None:
            taps = [name.tap(port_id) for port_id in self._model.ports]
            self._kept = unknown(have, self._model.ruleset(always=True), taps)
        kept = self._kept
        want = self._model.ruleset(always=bool(kept.sets or kept.chains))
        for key, elements in kept.sets.items():
            want.sets[key] = {**elements, **want.sets.get(key, {})}
        for key, digests in kept.chains.items():
            want.chains.setdefault(key, digests)
        return want

    async def _cut(self, gone: flow_check.Gone) -> None:
        found = await self._do(conntrack.flows, set(flow_check.zones(self._model)))
        stale = list(flow_check.stale(self._model, self._directory, found, gone))
        if stale:
            count = await self._do(conntrack.delete, stale)
            log.info("flows cut", count=count)

    async def _do(self, function: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    @property
    def _kernel(self) -> Nftables:
        if self._nftables is None:
            self._nftables = Nftables()
        return self._nftables

    def _read(self) -> Ruleset:
        return listed(item for family, table in TABLES for item in self._kernel.table(family, table))

    def _apply(self, commands: str) -> None:
        try:
            self._kernel.apply(commands)
        except NftError as error:
            log.error("nftables refused", commands=commands[:4000], output=error.facts["output"])
            raise
