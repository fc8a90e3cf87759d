"""The rules of identity, under Keystone's names and with its defaults, so that operators' files work."""

from oslo_policy import policy

ADMIN = "rule:admin_required"
READER = "(role:reader and system_scope:all)"
ADMIN_READER = f"{ADMIN} or {READER}"
OWNER = "rule:owner"

_SYSTEM_PROJECT = ["system", "project"]
_ALL = ["system", "domain", "project"]

_BASE = {
    "admin_required": "role:admin or is_admin:1",
    "service_role": "role:service",
    "service_or_admin": "rule:admin_required or rule:service_role",
    "owner": "user_id:%(user_id)s",
    "admin_or_owner": "rule:admin_required or rule:owner",
    "token_subject": "user_id:%(target.token.user_id)s",
    "admin_or_token_subject": "rule:admin_required or rule:token_subject",
    "service_admin_or_token_subject": "rule:service_or_admin or rule:token_subject",
    "domain_managed_target_role": "'manager':%(target.role.name)s or 'member':%(target.role.name)s or "
    "'reader':%(target.role.name)s",
}


def _domain(role: str, attribute: str) -> str:
    return f"(role:{role} and domain_id:%({attribute})s)"


def _grants(role: str) -> str:
    """A token of a domain, for what is wholly in that domain."""
    pairs = [
        f"(role:{role} and domain_id:%(target.{actor}.domain_id)s and domain_id:%({place})s)"
        for actor in ("user", "group")
        for place in ("target.project.domain_id", "target.domain.id")
    ]
    return f"({' or '.join(pairs)})"


_OWN_ROLE = "(domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s)"
_USER_DOMAIN = "target.user.domain_id"
_GROUP_DOMAIN = "target.group.domain_id"
_PROJECT_DOMAIN = "target.project.domain_id"
_TARGET_USER = "user_id:%(target.user.id)s"
_TAG_READ = f"{ADMIN_READER} or {_domain('reader', _PROJECT_DOMAIN)} or project_id:%(target.project.id)s"
_TAG_WRITE = (
    f"{ADMIN} or {_domain('manager', _PROJECT_DOMAIN)} or (role:admin and project_id:%(target.project.id)s)"
)
_CREDENTIAL_READ = f"{ADMIN_READER} or user_id:%(target.credential.user_id)s"
_CREDENTIAL_WRITE = f"{ADMIN} or user_id:%(target.credential.user_id)s"
_KEY_WRITE = f"{ADMIN} or (role:member and user_id:%(target.credential.user_id)s)"
_TRUSTOR = "user_id:%(target.trust.trustor_user_id)s"
_TRUSTEE = "user_id:%(target.trust.trustee_user_id)s"
_LIMIT_READ = (
    f"{ADMIN_READER} or domain_id:%(target.limit.domain.id)s or domain_id:%(target.limit.project.domain_id)s or "
    "(project_id:%(target.limit.project_id)s and not None:%(target.limit.project_id)s)"
)

# rule -> check, for tokens of every scope
_EVERYWHERE = {
    "get_user": f"{ADMIN_READER} or {_domain('reader', _USER_DOMAIN)} or {_TARGET_USER}",
    "list_users": f"{ADMIN_READER} or {_domain('reader', 'target.domain_id')}",
    "create_user": f"{ADMIN} or {_domain('manager', _USER_DOMAIN)}",
    "update_user": f"{ADMIN} or {_domain('manager', _USER_DOMAIN)}",
    "delete_user": f"{ADMIN} or {_domain('manager', _USER_DOMAIN)}",
    "list_projects_for_user": "",
    "list_domains_for_user": "",
    "get_group": f"{ADMIN_READER} or {_domain('reader', _GROUP_DOMAIN)}",
    "list_groups": f"{ADMIN_READER} or {_domain('reader', 'target.group.domain_id')}",
    "list_groups_for_user": f"{ADMIN_READER} or {_domain('reader', _USER_DOMAIN)} or user_id:%(user_id)s",
    "create_group": f"{ADMIN} or {_domain('manager', _GROUP_DOMAIN)}",
    "update_group": f"{ADMIN} or {_domain('manager', _GROUP_DOMAIN)}",
    "delete_group": f"{ADMIN} or {_domain('manager', _GROUP_DOMAIN)}",
    "list_users_in_group": f"{ADMIN_READER} or {_domain('reader', _GROUP_DOMAIN)}",
    "check_user_in_group": f"{ADMIN_READER} or (role:reader and domain_id:%(target.group.domain_id)s and "
    "domain_id:%(target.user.domain_id)s)",
    "add_user_to_group": f"{ADMIN} or (role:manager and domain_id:%(target.group.domain_id)s and "
    "domain_id:%(target.user.domain_id)s)",
    "remove_user_from_group": f"{ADMIN} or (role:manager and domain_id:%(target.group.domain_id)s and "
    "domain_id:%(target.user.domain_id)s)",
    "get_project": f"{ADMIN_READER} or {_domain('reader', _PROJECT_DOMAIN)} or "
    "project_id:%(target.project.id)s",
    "list_projects": f"{ADMIN_READER} or {_domain('reader', 'target.domain_id')}",
    "list_user_projects": f"{ADMIN_READER} or {_domain('reader', _USER_DOMAIN)} or {_TARGET_USER}",
    "create_project": f"{ADMIN} or {_domain('manager', _PROJECT_DOMAIN)}",
    "update_project": f"{ADMIN} or {_domain('manager', _PROJECT_DOMAIN)}",
    "delete_project": f"{ADMIN} or {_domain('manager', _PROJECT_DOMAIN)}",
    "list_project_tags": _TAG_READ,
    "get_project_tag": _TAG_READ,
    "update_project_tags": _TAG_WRITE,
    "create_project_tag": _TAG_WRITE,
    "delete_project_tags": _TAG_WRITE,
    "delete_project_tag": _TAG_WRITE,
    "get_domain": f"{ADMIN_READER} or domain_id:%(target.domain.id)s or "
    "project_domain_id:%(target.domain.id)s",
    "list_domains": f"{ADMIN_READER} or {_domain('reader', 'target.domain.id')}",
    "check_grant": f"{ADMIN_READER} or ({_grants('reader')} and {_OWN_ROLE})",
    "list_grants": f"{ADMIN_READER} or {_grants('reader')}",
    "create_grant": f"{ADMIN} or ({_grants('manager')} and rule:domain_managed_target_role)",
    "revoke_grant": f"{ADMIN} or ({_grants('manager')} and rule:domain_managed_target_role)",
    "list_role_assignments": f"{ADMIN_READER} or {_domain('reader', 'target.domain_id')}",
    "list_role_assignments_for_tree": f"{ADMIN_READER} or {_domain('reader', _PROJECT_DOMAIN)} or "
    "(role:admin and project_id:%(target.project.id)s)",
    "get_role": f"{ADMIN_READER} or (role:manager and not domain_id:None and rule:domain_managed_target_role)",
    "list_roles": f"{ADMIN_READER} or (role:manager and not domain_id:None)",
    "validate_token": f"{ADMIN_READER} or rule:service_role or rule:token_subject",
    "check_token": f"{ADMIN_READER} or rule:token_subject",
    "revoke_token": f"{ADMIN} or rule:token_subject",
    "revocation_list": "rule:service_or_admin",
    "get_auth_catalog": "",
    "get_auth_projects": "",
    "get_auth_domains": "",
    "get_auth_system": "",
    "get_region": "",
    "list_regions": "",
    "get_credential": _CREDENTIAL_READ,
    "list_credentials": _CREDENTIAL_READ,
    "create_credential": _CREDENTIAL_WRITE,
    "update_credential": _CREDENTIAL_WRITE,
    "delete_credential": _CREDENTIAL_WRITE,
    "get_limit_model": "",
    "get_limit": _LIMIT_READ,
    "list_limits": "",
    "get_registered_limit": "",
    "list_registered_limits": "",
    "get_security_compliance_domain_config": "",
    "ec2tokens_validate": "rule:service_or_admin",
}

# rule -> check, for tokens of the system and of projects
_CLOUD = {
    "ec2_get_credential": _CREDENTIAL_READ,
    "ec2_list_credentials": f"{ADMIN_READER} or {OWNER}",
    "ec2_create_credential": _KEY_WRITE,
    "ec2_create_credentials": _KEY_WRITE,
    "ec2_delete_credential": _KEY_WRITE,
    "get_application_credential": f"{ADMIN_READER} or {OWNER}",
    "list_application_credentials": f"{ADMIN_READER} or {OWNER}",
    "delete_application_credential": f"{ADMIN} or {OWNER}",
    "get_access_rule": f"{READER} or {_TARGET_USER}",
    "list_access_rules": f"{READER} or {_TARGET_USER}",
    "delete_access_rule": f"(role:admin and system_scope:all) or {_TARGET_USER}",
    "list_trusts": ADMIN_READER,
    "list_trusts_for_trustor": f"{ADMIN_READER} or {_TRUSTOR}",
    "list_trusts_for_trustee": f"{ADMIN_READER} or {_TRUSTEE}",
    "get_trust": f"{ADMIN_READER} or {_TRUSTOR} or {_TRUSTEE}",
    "delete_trust": f"{ADMIN} or {_TRUSTOR}",
    "list_roles_for_trust": f"{ADMIN_READER} or {_TRUSTOR} or {_TRUSTEE}",
    "get_role_for_trust": f"{ADMIN_READER} or {_TRUSTOR} or {_TRUSTEE}",
    "create_domain": ADMIN,
    "update_domain": ADMIN,
    "delete_domain": ADMIN,
    "create_role": ADMIN,
    "update_role": ADMIN,
    "delete_role": ADMIN,
    "get_domain_role": ADMIN_READER,
    "list_domain_roles": ADMIN_READER,
    "create_domain_role": ADMIN,
    "update_domain_role": ADMIN,
    "delete_domain_role": ADMIN,
    "get_implied_role": ADMIN_READER,
    "list_implied_roles": ADMIN_READER,
    "check_implied_role": ADMIN_READER,
    "list_role_inference_rules": ADMIN_READER,
    "create_implied_role": ADMIN,
    "delete_implied_role": ADMIN,
    "list_system_grants_for_user": ADMIN_READER,
    "check_system_grant_for_user": ADMIN_READER,
    "create_system_grant_for_user": ADMIN,
    "revoke_system_grant_for_user": ADMIN,
    "list_system_grants_for_group": ADMIN_READER,
    "check_system_grant_for_group": ADMIN_READER,
    "create_system_grant_for_group": ADMIN,
    "revoke_system_grant_for_group": ADMIN,
    "create_region": ADMIN,
    "update_region": ADMIN,
    "delete_region": ADMIN,
    "get_service": ADMIN_READER,
    "list_services": ADMIN_READER,
    "create_service": ADMIN,
    "update_service": ADMIN,
    "delete_service": ADMIN,
    "get_endpoint": ADMIN_READER,
    "list_endpoints": ADMIN_READER,
    "create_endpoint": ADMIN,
    "update_endpoint": ADMIN,
    "delete_endpoint": ADMIN,
    "get_endpoint_group": ADMIN_READER,
    "list_endpoint_groups": ADMIN_READER,
    "create_endpoint_group": ADMIN,
    "update_endpoint_group": ADMIN,
    "delete_endpoint_group": ADMIN,
    "list_projects_associated_with_endpoint_group": ADMIN_READER,
    "list_endpoints_associated_with_endpoint_group": ADMIN_READER,
    "get_endpoint_group_in_project": ADMIN_READER,
    "list_endpoint_groups_for_project": ADMIN_READER,
    "add_endpoint_group_to_project": ADMIN,
    "remove_endpoint_group_from_project": ADMIN,
    "list_projects_for_endpoint": ADMIN_READER,
    "add_endpoint_to_project": ADMIN,
    "check_endpoint_in_project": ADMIN_READER,
    "list_endpoints_for_project": ADMIN_READER,
    "remove_endpoint_from_project": ADMIN,
    "get_policy": ADMIN_READER,
    "list_policies": ADMIN_READER,
    "create_policy": ADMIN,
    "update_policy": ADMIN,
    "delete_policy": ADMIN,
    "create_policy_association_for_endpoint": ADMIN,
    "check_policy_association_for_endpoint": ADMIN_READER,
    "delete_policy_association_for_endpoint": ADMIN,
    "create_policy_association_for_service": ADMIN,
    "check_policy_association_for_service": ADMIN_READER,
    "delete_policy_association_for_service": ADMIN,
    "create_policy_association_for_region_and_service": ADMIN,
    "check_policy_association_for_region_and_service": ADMIN_READER,
    "delete_policy_association_for_region_and_service": ADMIN,
    "get_policy_for_endpoint": ADMIN_READER,
    "list_endpoints_for_policy": ADMIN_READER,
    "create_registered_limits": ADMIN,
    "update_registered_limit": ADMIN,
    "delete_registered_limit": ADMIN,
    "create_limits": f"{ADMIN} or (domain_id:%(target.limit.domain.id)s and role:admin)",
    "update_limit": f"{ADMIN} or (domain_id:%(target.limit.domain.id)s and role:admin)",
    "delete_limit": f"{ADMIN} or (domain_id:%(target.limit.domain.id)s and role:admin)",
    "create_domain_config": ADMIN,
    "get_domain_config": ADMIN_READER,
    "get_domain_config_default": ADMIN_READER,
    "update_domain_config": ADMIN,
    "delete_domain_config": ADMIN,
    "get_consumer": ADMIN_READER,
    "list_consumers": ADMIN_READER,
    "create_consumer": ADMIN,
    "update_consumer": ADMIN,
    "delete_consumer": ADMIN,
    "list_revoke_events": "rule:service_or_admin",
}

# rule -> check, for tokens of projects
_PROJECT = {
    "create_application_credential": OWNER,
    "create_trust": _TRUSTOR,
}

RULES: list[policy.RuleDefault] = [
    *(policy.RuleDefault(name, check) for name, check in _BASE.items()),
    *(
        policy.RuleDefault(f"identity:{name}", check, scope_types=scopes)
        for rules, scopes in ((_EVERYWHERE, _ALL), (_CLOUD, _SYSTEM_PROJECT), (_PROJECT, ["project"]))
        for name, check in rules.items()
    ),
]
