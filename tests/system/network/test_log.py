"""What security groups let pass or drop is written down for the ports of logs."""

import uuid
from pathlib import Path
from typing import Any

import orjson

from fabric.network.v1 import log_pb2
from tests.system.network.lab import echo, eventually, reaches, until
from tests.system.network.test_filter import ANY_OUT, UDP_IN, Pair, pair


def a_log(it: Pair, **spec: str) -> log_pb2.Log:
    log = log_pb2.Log()
    log.meta.id, log.meta.project_id = str(uuid.uuid4()), "p1"
    log.spec.CopyFrom(log_pb2.LogSpec(resource_type="security_group", enabled=True, **spec))
    it.cloud.logs.bind(log.meta.id, log)
    return log


async def test_dropped_and_accepted_packets_are_written_down(tmp_path: Path) -> None:
    file = tmp_path / "packets.jsonl"

    def lines(log: log_pb2.Log) -> list[dict[str, Any]]:
        found = [orjson.loads(line) for line in file.read_bytes().splitlines()] if file.exists() else []
        return [line for line in found if line["log_id"] == log.meta.id]

    async with pair(tmp_path) as (it, one, two), echo(two, 7):
        receiver = it.ports[1].meta.id
        drops = a_log(it, resource_id=it.group_ids[1], event="DROP")
        everything = a_log(it, target_id=receiver, event="ALL")
        other = a_log(it, target_id=it.ports[0].meta.id, event="DROP")

        async def is_dropped(address: str) -> bool:
            assert not await reaches(one, address, 7, tries=1)
            return any(line["destination"] == address for line in lines(drops))

        assert await eventually(lambda: is_dropped("10.0.0.6"))
        line = next(line for line in lines(drops) if line["destination"] == "10.0.0.6")
        assert line.pop("time").endswith("+00:00")
        assert 0 < line.pop("source_port") < 65536
        assert line == {
            "log_id": drops.meta.id,
            "project_id": "p1",
            "port_id": receiver,
            "event": "DROP",
            "direction": "ingress",
            "source": "10.0.0.5",
            "destination": "10.0.0.6",
            "protocol": "udp",
            "destination_port": 7,
        }
        assert await eventually(lambda: is_dropped("fd00:1::6"))
        it.group(1, *ANY_OUT, UDP_IN)
        assert await eventually(lambda: reaches(one, "10.0.0.6", 7))
        await until(lambda: "ACCEPT" in [line["event"] for line in lines(everything)])
        assert {line["event"] for line in lines(drops)} == {"DROP"}
        assert "10.0.0.6" not in {line["destination"] for line in lines(other)}
        for log in (drops, everything, other):
            it.cloud.logs.unbind(log.meta.id)
        it.group(1, *ANY_OUT)

        async def is_quiet() -> bool:
            before = file.stat().st_size
            return not await reaches(one, "10.0.0.6", 7, tries=1) and file.stat().st_size == before

        assert await eventually(is_quiet)
