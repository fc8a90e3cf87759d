"""What this machine's logs say of an id."""

import json
from collections.abc import Mapping
from pathlib import Path

from fabric.ctl.log_lines import log_lines


def written(path: Path, *entries: Mapping[str, object]) -> None:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))


def test_lines_with_the_word_come_in_the_order_of_time_without_polls(tmp_path: Path) -> None:
    written(
        tmp_path / "gateway.log",
        {"event": "request", "method": "GET", "status": 200, "path": "/servers/s1", "timestamp": "2"},
        {"event": "request", "method": "GET", "status": 404, "path": "/servers/s1", "timestamp": "4"},
        {"event": "request", "method": "POST", "status": 202, "path": "/servers/s1", "timestamp": "1"},
        {"event": "request", "method": "POST", "status": 202, "path": "/servers/other", "timestamp": "1"},
    )
    written(tmp_path / "agent.log", {"event": "server step", "server": "s1", "timestamp": "3"})
    (tmp_path / "etcd.log").write_text("not JSON, about s1\n")
    found = log_lines(tmp_path, ["s1"])
    assert [line.split()[0] for line in found] == ["1", "3", "4"]
    assert found[1] == "3 agent: server step server=s1"


def test_when_there_are_many_what_went_wrong_is_kept(tmp_path: Path) -> None:
    quiet = [{"event": "step", "server": "s1", "timestamp": str(n)} for n in range(30)]
    loud = {"event": "reconcile failed", "server": "s1", "level": "warning", "timestamp": "5"}
    written(tmp_path / "agent.log", *quiet, loud)
    assert len(log_lines(tmp_path, ["s1"], most=20)) == 1
