"""Policy."""

import os
from pathlib import Path

import pytest
from oslo_policy.policy import RuleDefault

from fabric.runtime import policy as module
from fabric.runtime.caller import Caller
from fabric.runtime.errors import PermissionDenied
from fabric.runtime.policy import Policy

RULES = [
    RuleDefault("owner", "project_id:%(project_id)s"),
    RuleDefault("get", "role:admin or rule:owner"),
    RuleDefault("own_user", "user_id:%(user_id)s"),
    RuleDefault("shared", "rule:get or 'True':%(shared)s"),
]
MEMBER = Caller(user_id="u1", project_id="p1", roles=frozenset({"member"}))
ADMIN = Caller(user_id="u0", project_id="p0", roles=frozenset({"admin"}))


@pytest.mark.parametrize(
    ("caller", "rule", "target", "allowed"),
    [
        (MEMBER, "get", {"project_id": "p1"}, True),
        (MEMBER, "get", {"project_id": "p2"}, False),
        (ADMIN, "get", {"project_id": "p2"}, True),
        (MEMBER, "own_user", {"user_id": "u1"}, True),
        (MEMBER, "own_user", {"user_id": "u2"}, False),
        (MEMBER, "shared", {"project_id": "p2", "shared": True}, True),
        (MEMBER, "shared", {"project_id": "p2", "shared": False}, False),
        (MEMBER, "unknown rule", {}, False),
    ],
)
def test_verdicts(caller: Caller, rule: str, target: dict[str, object], allowed: bool) -> None:
    policy = Policy(RULES)
    assert [policy.allows(caller, rule, target) for _ in range(2)] == [allowed, allowed]


def test_a_refusal_names_the_rule() -> None:
    with pytest.raises(PermissionDenied, match="get"):
        Policy(RULES).enforce(MEMBER, "get", {"project_id": "p2"})


def test_an_operators_file_takes_effect_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.0)
    policy = Policy(RULES, tmp_path)
    assert not policy.allows(MEMBER, "get", {"project_id": "p2"})
    file = tmp_path / "mine.yaml"
    file.write_text('get: "role:member"\n')
    assert policy.allows(MEMBER, "get", {"project_id": "p2"})
    file.write_text('get: "role:nobody"\n')
    os.utime(file, ns=(1, 1))
    assert not policy.allows(MEMBER, "get", {"project_id": "p1"})


def test_a_file_that_goes_takes_its_rules_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.0)
    file = tmp_path / "mine.yaml"
    file.write_text('get: "role:member"\n')
    policy = Policy(RULES, tmp_path)
    assert policy.allows(MEMBER, "get", {"project_id": "p2"})
    file.unlink()
    assert not policy.allows(MEMBER, "get", {"project_id": "p2"})


@pytest.mark.parametrize("broken", ['get: "role:member', "- get", "5", "get: [1]\n"])
def test_rules_stay_while_a_file_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY_S", 0.0)
    file = tmp_path / "mine.yaml"
    file.write_text('get: "role:member"\n')
    policy = Policy(RULES, tmp_path)
    file.write_text(broken)
    assert [policy.allows(MEMBER, "get", {"project_id": id_}) for id_ in ("p2", "p3")] == [True, True]
    file.write_text('get: "role:nobody"\n')
    assert not policy.allows(MEMBER, "get", {"project_id": "p2"})
