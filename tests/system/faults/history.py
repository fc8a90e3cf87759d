"""All that etcd went through, revision by revision: what was never so may not have been so for a moment either."""

from collections.abc import Iterator, Mapping

import orjson

from fabric.runtime.config import Config
from fabric.runtime.etcd import Change, Event, connect

_END = "/fabric/end-of-history"  # written to know that the watch has brought all before it
Past = list[tuple[int, list[Event]]]


async def history(config: Config) -> Past:
    """The events of each revision, from the first on; etcd must not have been compacted."""
    etcd = connect(config.etcd)
    try:
        last = await etcd.revision()
        found: dict[int, list[Event]] = {}
        watch = etcd.watch("/fabric/", 1)
        for change in (Change(put={_END: b"{}"}), Change(delete={_END})):
            await etcd.commit(change)
        async for _, events in watch:
            for event in events:
                if event.revision <= last:
                    found.setdefault(event.revision, []).append(event)
            if events[-1].revision > last:
                break
        await watch.aclose()  # type: ignore[attr-defined]
    finally:
        await etcd.close()
    return sorted(found.items())


def quota_faults(past: Past, project: str, limit: int) -> Iterator[str]:
    """Where the usage of ports was above the limit, or was not the number of ports there are."""
    usage, ports = 0, set[str]()
    for revision, events in past:
        for event in events:
            value: Mapping[str, object] = orjson.loads(event.value) if event.value else {}
            if event.key == f"/fabric/quota/{project}/network.port":
                usage = int(str(value.get("usage", 0)))
            elif event.key.startswith("/fabric/network/ports/"):
                if event.value is None:
                    ports.discard(event.key)
                elif _counts(value, project):
                    ports.add(event.key)
        if usage > limit:
            yield f"revision {revision}: usage {usage} is above {limit}"
        if usage != len(ports):
            yield f"revision {revision}: usage {usage}, {len(ports)} ports"


def _counts(port: Mapping[str, object], project: str) -> bool:
    meta, spec = port.get("meta"), port.get("spec")
    assert isinstance(meta, dict)
    assert isinstance(spec, dict)
    return meta.get("project_id") == project and spec.get("device_owner") != "network:dhcp"


def writes_without_a_life(past: Past, node: str, agent: str) -> Iterator[str]:
    """Reports of the node that came while its agent had no lease."""
    life, alive = f"/fabric/nodes/{node}/{agent}", False
    for revision, events in past:
        for event in events:
            if event.key == life:
                alive = event.value is not None
        for event in events:
            if (
                event.value is not None
                and event.key.startswith(f"/fabric/{agent}/node/{node}/seen/")
                and not alive
            ):
                yield f"revision {revision}: {event.key}"
