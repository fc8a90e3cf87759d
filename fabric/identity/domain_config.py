"""Options of one domain's identity and LDAP drivers: kept for those who ask, not used by this cloud."""

from typing import Any

import orjson

from fabric.identity.collection import DOMAIN_CONFIGS, PROJECTS
from fabric.identity.v1 import domain_config_pb2 as pb
from fabric.runtime.caller import Caller
from fabric.runtime.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied, StaleRevision
from fabric.runtime.policy import Policy
from fabric.runtime.store import Store

_LDAP = (
    "url user suffix query_scope page_size alias_dereferencing debug_level chase_referrals user_tree_dn "
    "user_filter user_objectclass user_id_attribute user_name_attribute user_mail_attribute "
    "user_description_attribute user_pass_attribute user_enabled_attribute user_enabled_invert "
    "user_enabled_mask user_enabled_default user_attribute_ignore user_default_project_id_attribute "
    "user_enabled_emulation user_enabled_emulation_dn user_enabled_emulation_use_group_config "
    "user_additional_attribute_mapping group_tree_dn group_filter group_objectclass group_id_attribute "
    "group_name_attribute group_members_are_ids group_member_attribute group_desc_attribute "
    "group_attribute_ignore group_additional_attribute_mapping group_ad_nesting tls_cacertfile "
    "tls_cacertdir use_tls tls_req_cert use_pool pool_size pool_retry_max pool_retry_delay "
    "pool_connection_timeout pool_connection_lifetime use_auth_pool auth_pool_size "
    "auth_pool_connection_lifetime password"
)
OPTIONS = {"identity": frozenset({"driver", "list_limit"}), "ldap": frozenset(_LDAP.split())}
HIDDEN = {"ldap": frozenset({"password"})}
DEFAULTS: dict[str, dict[str, Any]] = {
    "identity": {"driver": "sql", "list_limit": None},
    "ldap": dict.fromkeys(sorted(OPTIONS["ldap"] - HIDDEN["ldap"]))
    | {"url": "ldap://localhost", "suffix": "cn=example,cn=com"},
}
_TRIES = 8
Config = dict[str, dict[str, Any]]


class DomainConfigs:
    """The RPCs of DomainConfigService."""

    def __init__(self, store: Store, policy: Policy, regex: str, description: str) -> None:
        self._store = store
        self._policy = policy
        self._compliance = {
            "password_regex": regex or None,
            "password_regex_description": description or None,
        }

    async def SetDomainConfig(self, request: pb.SetDomainConfigRequest, caller: Caller) -> pb.DomainConfig:
        self._enter(caller, "identity:create_domain_config", request.domain_id)
        config = _checked(request.config)
        return await self._save(request.domain_id, lambda _: config)

    async def UpdateDomainConfig(
        self, request: pb.UpdateDomainConfigRequest, caller: Caller
    ) -> pb.DomainConfig:
        self._enter(caller, "identity:update_domain_config", request.domain_id)
        config = _checked(request.config)
        group, option = request.group, request.option
        _check_known(group, option)
        if group and set(config) != {group}:
            raise PermissionDenied(
                "Invalid domain specific configuration: the group of the path and of the body differ.",
                reason="INVALID_DOMAIN_CONFIG",
            )
        if option and set(config[group]) != {option}:
            raise PermissionDenied(
                "Invalid domain specific configuration: the option of the path and of the body differ.",
                reason="INVALID_DOMAIN_CONFIG",
            )

        def merge(old: Config) -> Config:
            _part(old, group, option, request.domain_id)
            return {g: old.get(g, {}) | config.get(g, {}) for g in {**old, **config}}

        saved = await self._save(request.domain_id, merge)
        return saved

    async def GetDomainConfig(self, request: pb.GetDomainConfigRequest, caller: Caller) -> pb.DomainConfig:
        if request.group == "security_compliance":
            return self._security(request, caller)
        self._enter(caller, "identity:get_domain_config", request.domain_id)
        _check_known(request.group, request.option)
        config = _shown(self._read(request.domain_id))
        return _answer(request.domain_id, _part(config, request.group, request.option, request.domain_id))

    async def DeleteDomainConfig(
        self, request: pb.DeleteDomainConfigRequest, caller: Caller
    ) -> pb.DomainConfig:
        self._enter(caller, "identity:delete_domain_config", request.domain_id)
        _check_known(request.group, request.option)
        old = self._read(request.domain_id)
        _part(old, request.group, request.option, request.domain_id)
        left = dict(old) if request.group else {}
        if request.option:
            left[request.group] = {k: v for k, v in old[request.group].items() if k != request.option}
        else:
            left.pop(request.group, None)
        left = {group: options for group, options in left.items() if options}
        found = self._store.get(DOMAIN_CONFIGS, request.domain_id)
        if left:
            return await self._save(request.domain_id, lambda _: left)
        async with self._store.transaction() as txn:
            txn.remove(DOMAIN_CONFIGS, found)
        return _answer(request.domain_id, {})

    async def GetDomainConfigDefault(
        self, request: pb.GetDomainConfigDefaultRequest, caller: Caller
    ) -> pb.DomainConfig:
        self._policy.enforce(caller, "identity:get_domain_config_default", {})
        _check_known(request.group, request.option)
        return _answer("", _part(DEFAULTS, request.group, request.option, ""))

    def _security(self, request: pb.GetDomainConfigRequest, caller: Caller) -> pb.DomainConfig:
        self._enter(caller, "identity:get_security_compliance_domain_config", request.domain_id)
        if request.domain_id != "default" or (request.option and request.option not in self._compliance):
            raise PermissionDenied("Domain specific configuration of security_compliance is not available.")
        config = {"security_compliance": self._compliance}
        return _answer(request.domain_id, _part(config, request.group, request.option, ""))

    def _enter(self, caller: Caller, rule: str, domain_id: str) -> None:
        self._policy.enforce(caller, rule, {})
        domain = self._store.find(PROJECTS, domain_id)
        if domain is None or not domain.spec.is_domain:
            raise NotFound(f"Could not find domain: {domain_id}.", reason="DOMAIN_NOT_FOUND")

    def _read(self, domain_id: str) -> Config:
        found = self._store.find(DOMAIN_CONFIGS, domain_id)
        return orjson.loads(found.config) if found is not None else {}

    async def _save(self, domain_id: str, change: Any) -> pb.DomainConfig:
        for attempt in range(_TRIES):
            found = self._store.find(DOMAIN_CONFIGS, domain_id)
            config = change(self._read(domain_id))
            record = pb.DomainConfig()
            if found is not None:
                record.CopyFrom(found)
            record.meta.id = domain_id
            record.config = orjson.dumps(config).decode()
            try:
                async with self._store.transaction() as txn:
                    txn.expect(PROJECTS, self._store.get(PROJECTS, domain_id))
                    if found is None:
                        txn.create(DOMAIN_CONFIGS, record)
                    else:
                        txn.update(DOMAIN_CONFIGS, record)
            except (AlreadyExists, StaleRevision):
                if attempt + 1 == _TRIES:
                    raise
                continue
            answer = _answer(domain_id, _shown(config))
            answer.meta.generation = 1 if found is None else 2  # 1: it was not there
            return answer
        raise AssertionError


def _answer(domain_id: str, config: Any) -> pb.DomainConfig:
    made = pb.DomainConfig(config=orjson.dumps(config).decode())
    made.meta.id = domain_id
    return made


def _shown(config: Config) -> Config:
    """Without what is sensitive."""
    return {
        group: {name: value for name, value in options.items() if name not in HIDDEN.get(group, ())}
        for group, options in config.items()
    }


def _part(config: Any, group: str, option: str, domain_id: str) -> Any:
    """The config, one group of it, or one option. Raises NotFound."""
    what = f"group {group}" if group else "any options"
    if option:
        what = f"option {option} in group {group}"
    if not config or (group and group not in config) or (option and option not in config[group]):
        raise NotFound(
            f"Could not find {what} in domain configuration for domain {domain_id}.",
            reason="DOMAIN_CONFIG_NOT_FOUND",
        )
    if option:
        return {option: config[group][option]}
    return {group: config[group]} if group else config


def _check_known(group: str, option: str) -> None:
    if group and group not in OPTIONS:
        raise PermissionDenied(
            f"Invalid domain specific configuration: group {group[:64]} is not supported for domain specific "
            "configurations",
            reason="INVALID_DOMAIN_CONFIG",
        )
    if option and option not in OPTIONS[group]:
        raise PermissionDenied(
            f"Invalid domain specific configuration: option {option[:64]} in group {group} is not supported "
            "for domain specific configurations",
            reason="INVALID_DOMAIN_CONFIG",
        )


def _checked(text: str) -> Config:
    try:
        config = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument("'config' is not JSON.", field="config") from error
    if not isinstance(config, dict) or not config:
        raise PermissionDenied(
            "Invalid domain specific configuration: no options specified", reason="INVALID_DOMAIN_CONFIG"
        )
    for group, options in config.items():
        _check_known(group, "")
        if not isinstance(options, dict):
            raise PermissionDenied(
                f"Invalid domain specific configuration: group {group} has no options",
                reason="INVALID_DOMAIN_CONFIG",
            )
        for option in options:
            _check_known(group, option)
    return config
