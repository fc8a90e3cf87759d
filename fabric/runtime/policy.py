"""Who may do what: oslo.policy rules, the defaults in code and the operator's changes in files."""

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import structlog
from oslo_config import cfg
from oslo_policy import policy as oslo

from fabric.runtime.caller import Caller
from fabric.runtime.errors import PermissionDenied

log = structlog.get_logger(__name__)

_ATTRIBUTE = re.compile(r"%\(([^)]+)\)s")
_REFERENCE = re.compile(r"\brule:([\w:.\-]+)")
_LOOK_EVERY_S = 1.0
_MOST_VERDICTS = 100_000


class Policy:
    """The rules of all services, the same for every way in.

    A verdict depends only on the caller and on those attributes of the target that the rule names; it is
    remembered under them until the operator's files change.
    """

    def __init__(self, defaults: Sequence[oslo.RuleDefault], directory: Path | None = None) -> None:
        """directory: *.yaml files that override rules; they are read again when they change."""
        self._defaults = _distinct(defaults)
        self._directory = directory
        self._files = _files(directory)
        self._enforcer = self._read()
        self._looked = time.monotonic()
        self._attributes: dict[str, tuple[str, ...]] = {}
        self._verdicts: dict[Any, bool] = {}

    def allows(self, caller: Caller, rule: str, target: Mapping[str, Any]) -> bool:
        """Whether the caller may do it to a target with these attributes (project_id, user_id...)."""
        if time.monotonic() - self._looked > _LOOK_EVERY_S:
            self._look()
        attributes = self._attributes.get(rule)
        if attributes is None:
            attributes = self._attributes[rule] = tuple(sorted(self._named_by(rule, set())))
        key = (rule, caller.who, tuple([str(target.get(name)) for name in attributes]))
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) > _MOST_VERDICTS:
                self._verdicts.clear()
            verdict = bool(self._enforcer.enforce(rule, dict(target), dict(caller.credentials)))
            self._verdicts[key] = verdict
        return verdict

    def enforce(self, caller: Caller, rule: str, target: Mapping[str, Any]) -> None:
        """Raise PermissionDenied unless the caller may."""
        if not self.allows(caller, rule, target):
            raise PermissionDenied(f"Policy doesn't allow {rule} to be performed.", rule=rule)

    def _look(self) -> None:
        """Read the operator's files again if one came, went or changed; what cannot be read changes nothing."""
        self._looked = time.monotonic()
        try:
            files = _files(self._directory)
            if files == self._files:
                return
            self._files = files
            self._enforcer = self._read()
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.error("policy not taken", directory=str(self._directory), cause=str(error))
            return
        self._attributes.clear()
        self._verdicts.clear()

    def _read(self) -> oslo.Enforcer:
        """The defaults and, over them, what the files say. Raises OSError; others for what is no such file."""
        conf = cfg.ConfigOpts()
        conf([], project="fabric", default_config_files=[])
        enforcer = oslo.Enforcer(conf, use_conf=True)
        conf.set_override("policy_dirs", [str(self._directory)] if self._directory else [], "oslo_policy")
        conf.set_override("policy_file", "policy-not-used.yaml", "oslo_policy")
        enforcer.suppress_deprecation_warnings = True
        enforcer.register_defaults(self._defaults)
        enforcer.load_rules(force_reload=True)
        enforcer.use_conf = False  # it would look at the files by itself
        return enforcer

    def _named_by(self, rule: str, met: set[str]) -> set[str]:
        """The target's attributes that the rule, and the rules that it refers to, look at."""
        if rule in met or rule not in self._enforcer.rules:
            return set()
        met.add(rule)
        text = str(self._enforcer.rules[rule])
        found = set(_ATTRIBUTE.findall(text))
        for other in _REFERENCE.findall(text):
            found |= self._named_by(other, met)
        return found


def _distinct(defaults: Sequence[oslo.RuleDefault]) -> list[oslo.RuleDefault]:
    """Services may share a rule's name when they mean the same by it. Raises ValueError."""
    found: dict[str, oslo.RuleDefault] = {}
    for rule in defaults:
        if str(found.setdefault(rule.name, rule).check) != str(rule.check):
            raise ValueError(f"two services differ about the policy rule {rule.name}")
    return list(found.values())


def _files(directory: Path | None) -> list[tuple[str, int]]:
    """Their names, and when they were written."""
    if directory is None or not directory.is_dir():
        return []
    return sorted((path.name, path.stat().st_mtime_ns) for path in directory.iterdir() if path.is_file())
