"""Who may do what: oslo.policy rules, the defaults in code and the operator's changes in files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo

from fabric.runtime.caller import Caller
from fabric.runtime.errors import PermissionDenied


class Policy:
    """The rules of one service, the same for every way in."""

    def __init__(self, defaults: Sequence[oslo.RuleDefault], directory: Path | None = None) -> None:
        """directory: *.yaml files that override rules; they are read again when they change."""
        conf = cfg.ConfigOpts()
        conf([], project="fabric", default_config_files=[])
        enforcer = oslo.Enforcer(conf, use_conf=True)
        conf.set_override("policy_dirs", [str(directory)] if directory else [], "oslo_policy")
        conf.set_override("policy_file", "policy-not-used.yaml", "oslo_policy")
        enforcer.suppress_deprecation_warnings = True
        enforcer.register_defaults(list(defaults))
        enforcer.load_rules()
        self._enforcer = enforcer

    def allows(self, caller: Caller, rule: str, target: Mapping[str, Any]) -> bool:
        """Whether the caller may do it to a target with these attributes (project_id, user_id...)."""
        return bool(self._enforcer.enforce(rule, dict(target), dict(caller.credentials)))

    def enforce(self, caller: Caller, rule: str, target: Mapping[str, Any]) -> None:
        """Raise PermissionDenied unless the caller may."""
        if not self.allows(caller, rule, target):
            raise PermissionDenied(f"Policy doesn't allow {rule} to be performed.", rule=rule)
