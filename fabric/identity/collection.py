"""What identity keeps in etcd: collections, their unique names and their indexes."""

from collections.abc import Iterator
from typing import Any

from fabric.identity.v1 import (
    application_credential_pb2,
    catalog_pb2,
    credential_pb2,
    domain_config_pb2,
    group_pb2,
    limit_pb2,
    oauth_pb2,
    policy_pb2,
    project_pb2,
    role_pb2,
    token_pb2,
    trust_pb2,
    user_pb2,
)
from fabric.runtime.store import Collection

SYSTEM = "system"  # the target of system assignments


def target_of(assignment: role_pb2.Assignment) -> str:
    """The project, domain or system that the assignment is on, as indexes name it."""
    if assignment.project_id:
        return f"project:{assignment.project_id}"
    return f"domain:{assignment.domain_id}" if assignment.domain_id else SYSTEM


def actor_of(assignment: role_pb2.Assignment) -> str:
    """The user or group that has the assignment, as indexes name it."""
    return f"user:{assignment.user_id}" if assignment.user_id else f"group:{assignment.group_id}"


def _project_claims(project: project_pb2.Project) -> Iterator[tuple[str, str]]:
    yield "name", f"{project.spec.domain_id or '-'}/{project.meta.name}"


def _derive_user(user: user_pb2.User) -> None:
    user.ClearField("password_expires_time")
    if user.passwords and user.passwords[-1].HasField("expire_time"):
        option = user.spec.options.fields.get("ignore_password_expiry")
        if option is None or not option.bool_value:
            user.password_expires_time.CopyFrom(user.passwords[-1].expire_time)


def _endpoint_filters(record: catalog_pb2.ProjectEndpoint) -> tuple[str, ...]:
    return (record.endpoint_id or record.endpoint_group_id,)


PROJECTS: Collection[project_pb2.Project] = Collection(
    "identity",
    "projects",
    project_pb2.Project,
    claims=_project_claims,
    indexes={
        "domain": lambda p: (p.spec.domain_id,),
        "parent": lambda p: (p.spec.parent_id,),
        "is_domain": lambda p: ("true",) if p.spec.is_domain else (),
    },
)
USERS: Collection[user_pb2.User] = Collection(
    "identity",
    "users",
    user_pb2.User,
    claims=lambda u: (("name", f"{u.spec.domain_id}/{u.meta.name}"),),
    indexes={
        "domain": lambda u: (u.spec.domain_id,),
        "default_project": lambda u: (u.spec.default_project_id,),
    },
    output_only=("password_expires_time",),
    derive=_derive_user,
)
LOGINS: Collection[user_pb2.LoginRecord] = Collection("identity", "logins", user_pb2.LoginRecord)
GROUPS: Collection[group_pb2.Group] = Collection(
    "identity",
    "groups",
    group_pb2.Group,
    claims=lambda g: (("name", f"{g.spec.domain_id}/{g.meta.name}"),),
    indexes={"domain": lambda g: (g.spec.domain_id,)},
)
MEMBERSHIPS: Collection[group_pb2.Membership] = Collection(
    "identity",
    "memberships",
    group_pb2.Membership,
    indexes={"group": lambda m: (m.group_id,), "user": lambda m: (m.user_id,)},
)
ROLES: Collection[role_pb2.Role] = Collection(
    "identity",
    "roles",
    role_pb2.Role,
    claims=lambda r: (("name", f"{r.spec.domain_id or '-'}/{r.meta.name}"),),
    indexes={"domain": lambda r: (r.spec.domain_id,)},
)
IMPLICATIONS: Collection[role_pb2.Implication] = Collection(
    "identity",
    "implications",
    role_pb2.Implication,
    indexes={"prior": lambda i: (i.prior_role_id,), "implied": lambda i: (i.implied_role_id,)},
    output_only=("prior_role", "implied_role"),
)
ASSIGNMENTS: Collection[role_pb2.Assignment] = Collection(
    "identity",
    "assignments",
    role_pb2.Assignment,
    indexes={
        "actor": lambda a: (actor_of(a),),
        "target": lambda a: (target_of(a),),
        "both": lambda a: (f"{actor_of(a)}|{target_of(a)}",),
        "role": lambda a: (a.role_id,),
    },
)
REGIONS: Collection[catalog_pb2.Region] = Collection(
    "identity", "regions", catalog_pb2.Region, indexes={"parent": lambda r: (r.spec.parent_region_id,)}
)
SERVICES: Collection[catalog_pb2.Service] = Collection("identity", "services", catalog_pb2.Service)
ENDPOINTS: Collection[catalog_pb2.Endpoint] = Collection(
    "identity",
    "endpoints",
    catalog_pb2.Endpoint,
    indexes={"service": lambda e: (e.spec.service_id,), "region": lambda e: (e.spec.region_id,)},
)
ENDPOINT_GROUPS: Collection[catalog_pb2.EndpointGroup] = Collection(
    "identity", "endpoint_groups", catalog_pb2.EndpointGroup
)
PROJECT_ENDPOINTS: Collection[catalog_pb2.ProjectEndpoint] = Collection(
    "identity",
    "project_endpoints",
    catalog_pb2.ProjectEndpoint,
    indexes={"project": lambda p: (p.project_id,), "endpoint": _endpoint_filters},
)
APPLICATION_CREDENTIALS: Collection[application_credential_pb2.ApplicationCredential] = Collection(
    "identity",
    "application_credentials",
    application_credential_pb2.ApplicationCredential,
    claims=lambda a: (("name", f"{a.user_id}/{a.meta.name}"),),
    indexes={"user": lambda a: (a.user_id,), "rule": lambda a: tuple(a.access_rule_ids)},
    output_only=("secret", "access_rules"),
)
ACCESS_RULES: Collection[application_credential_pb2.AccessRule] = Collection(
    "identity",
    "access_rules",
    application_credential_pb2.AccessRule,
    indexes={"user": lambda r: (r.user_id,)},
)
TRUSTS: Collection[trust_pb2.Trust] = Collection(
    "identity",
    "trusts",
    trust_pb2.Trust,
    indexes={
        "trustor": lambda t: (t.trustor_user_id,),
        "trustee": lambda t: (t.trustee_user_id,),
        "redelegated": lambda t: (t.redelegated_trust_id,),
    },
)
CREDENTIALS: Collection[credential_pb2.Credential] = Collection(
    "identity",
    "credentials",
    credential_pb2.Credential,
    indexes={"user": lambda c: (c.user_id,)},
)
POLICIES: Collection[policy_pb2.Policy] = Collection("identity", "policies", policy_pb2.Policy)
POLICY_ASSOCIATIONS: Collection[policy_pb2.PolicyAssociation] = Collection(
    "identity",
    "policy_associations",
    policy_pb2.PolicyAssociation,
    indexes={"policy": lambda a: (a.policy_id,)},
)
REGISTERED_LIMITS: Collection[limit_pb2.RegisteredLimit] = Collection(
    "identity",
    "registered_limits",
    limit_pb2.RegisteredLimit,
    claims=lambda r: (("place", f"{r.service_id}/{r.region_id}/{r.resource_name}"),),
    indexes={"service": lambda r: (r.service_id,), "region": lambda r: (r.region_id,)},
)
LIMITS: Collection[limit_pb2.Limit] = Collection(
    "identity",
    "limits",
    limit_pb2.Limit,
    claims=lambda r: (
        ("place", f"{r.project_id or r.domain_id}/{r.service_id}/{r.region_id}/{r.resource_name}"),
    ),
    indexes={
        "project": lambda r: (r.project_id or r.domain_id,),
        "place": lambda r: (f"{r.service_id}/{r.region_id}/{r.resource_name}",),
    },
)
DOMAIN_CONFIGS: Collection[domain_config_pb2.DomainConfig] = Collection(
    "identity", "domain_configs", domain_config_pb2.DomainConfig
)
CONSUMERS: Collection[oauth_pb2.Consumer] = Collection("identity", "consumers", oauth_pb2.Consumer)
REVOCATIONS: Collection[token_pb2.Revocation] = Collection("identity", "revocations", token_pb2.Revocation)
TOKEN_KEYS: Collection[token_pb2.TokenKey] = Collection("identity", "token_keys", token_pb2.TokenKey)

COLLECTIONS: list[Collection[Any]] = [
    PROJECTS,
    USERS,
    LOGINS,
    GROUPS,
    MEMBERSHIPS,
    ROLES,
    IMPLICATIONS,
    ASSIGNMENTS,
    REGIONS,
    SERVICES,
    ENDPOINTS,
    ENDPOINT_GROUPS,
    PROJECT_ENDPOINTS,
    APPLICATION_CREDENTIALS,
    ACCESS_RULES,
    TRUSTS,
    CREDENTIALS,
    POLICIES,
    POLICY_ASSOCIATIONS,
    REGISTERED_LIMITS,
    LIMITS,
    DOMAIN_CONFIGS,
    CONSUMERS,
    REVOCATIONS,
    TOKEN_KEYS,
]
