"""MeterDriver on nftables: named counters in the routers' namespaces."""

from collections.abc import Sequence

from agents.network import name, netns
from agents.network.libnftables import Nftables
from agents.network.meter import TABLE, Count, counter, rules
from agents.network.ruleset import Wanted, listed, transaction
from fabric.network.v1 import metering_pb2, router_pb2


class NamespaceCounters:
    """Works in the node's mount namespace, where the routers' namespaces have their names."""

    async def ensure(
        self, want: router_pb2.RouterWant, labels: Sequence[metering_pb2.MeteringLabelWant]
    ) -> None:
        wanted = rules(want, labels)
        counters = {counter(label.metering_label.meta.id) for label in labels}
        namespace = name.router_namespace(want.router.meta.id)
        await netns.run(namespace, lambda: _settle(wanted, counters))

    async def take(self, router_id: str) -> dict[str, Count]:
        try:
            return await netns.run(name.router_namespace(router_id), _take)
        except FileNotFoundError:
            return {}  # the router has gone meanwhile


def _settle(wanted: Wanted, counters: set[str]) -> None:
    """Runs inside the namespace."""
    nftables = Nftables()
    try:
        objects = nftables.table(*TABLE.split(" "))
        commands = transaction(listed(objects), wanted)
        found = {item["counter"]["name"] for item in objects if "counter" in item}
        if counters - found:
            made = "".join(f"add counter {TABLE} {new}\n" for new in sorted(counters - found))
            commands = f"add table {TABLE}\n{made}{commands}"
        if wanted.chains:
            commands += "".join(f"delete counter {TABLE} {old}\n" for old in sorted(found - counters))
        if commands:
            nftables.apply(commands)
    finally:
        nftables.close()


def _take() -> dict[str, Count]:
    """Runs inside the namespace."""
    nftables = Nftables()
    try:
        found = nftables.reset_counters(*TABLE.split(" "))
    finally:
        nftables.close()
    return {
        item["name"].removeprefix("label-"): Count(packets=item["packets"], bytes=item["bytes"])
        for item in found
    }
