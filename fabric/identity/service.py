"""Identity's gRPC services, put together."""

from typing import Any

from fabric.identity import project_service
from fabric.identity.application_credential import ApplicationCredentials
from fabric.identity.assignment import Assignments
from fabric.identity.catalog import Catalog
from fabric.identity.catalog_resource import Endpoints, Regions, Services
from fabric.identity.consumer import Consumers
from fabric.identity.credential import Credentials, Ec2Credentials
from fabric.identity.document import Documents
from fabric.identity.domain_config import DomainConfigs
from fabric.identity.endpoint_filter import EndpointGroups, EndpointLinks
from fabric.identity.grant import Grants
from fabric.identity.group import Groups, Members
from fabric.identity.limit import LimitExtras, RegisteredLimits
from fabric.identity.limit import Limits as UnifiedLimits
from fabric.identity.login import Login
from fabric.identity.password import Passwords
from fabric.identity.policy_document import Associations, Policies
from fabric.identity.project import Domains, Projects
from fabric.identity.role import Implications, Roles
from fabric.identity.token import Authenticator
from fabric.identity.token_service import Tokens
from fabric.identity.trust import Trusts
from fabric.identity.user import Users
from fabric.identity.user_service import UserExtras
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
from fabric.runtime.client import Client
from fabric.runtime.config import Config
from fabric.runtime.policy import Policy
from fabric.runtime.resource import methods
from fabric.runtime.rpc import Server
from fabric.runtime.store import Store

PUBLIC = frozenset(
    {
        "fabric.identity.v1.TokenService/IssueToken",
        "fabric.identity.v1.TokenService/ValidateTokens",
        "fabric.identity.v1.UserService/ChangePassword",
    }
)


def register(server: Server, store: Store, policy: Policy, config: Config, client: Client) -> None:
    """Add all services."""
    authenticator = Authenticator(store, config)
    assignments: Assignments = authenticator.assignments
    passwords = Passwords(config.identity.bcrypt_rounds, config.identity.password_memory_s)
    users = Users(store, policy, config.identity, passwords)
    catalog = Catalog(store)
    projects = Projects(store, policy)
    login = Login(authenticator, users, passwords)
    tokens = Tokens(authenticator, policy, Documents(authenticator, catalog), catalog, login)

    def add(file: Any, service: str, resources: dict[str, Any], extra: object = None) -> None:
        descriptor = file.DESCRIPTOR.services_by_name[service]
        server.add(descriptor, methods(descriptor, resources, extra))

    add(token_pb2, "TokenService", {}, tokens)
    add(
        project_pb2,
        "ProjectService",
        {"Project": projects},
        project_service.ProjectExtras(store, policy, projects, assignments),
    )
    add(project_pb2, "DomainService", {"Domain": Domains(store, policy)})
    add(user_pb2, "UserService", {"User": users}, UserExtras(store, policy, users, assignments))
    add(group_pb2, "GroupService", {"Group": Groups(store, policy)}, Members(store, policy))
    add(role_pb2, "RoleService", {"Role": Roles(store, policy)}, Implications(store, policy))
    add(role_pb2, "AssignmentService", {}, Grants(store, policy, assignments))
    add(
        catalog_pb2,
        "CatalogService",
        {
            "Region": Regions(store, policy),
            "Service": Services(store, policy),
            "Endpoint": Endpoints(store, policy),
        },
    )
    add(
        catalog_pb2,
        "EndpointFilterService",
        {"EndpointGroup": EndpointGroups(store, policy)},
        EndpointLinks(store, policy, catalog),
    )
    add(
        application_credential_pb2,
        "ApplicationCredentialService",
        {},
        ApplicationCredentials(store, policy, assignments, passwords),
    )
    add(trust_pb2, "TrustService", {}, Trusts(store, policy, assignments))
    add(
        credential_pb2,
        "CredentialService",
        {"Credential": Credentials(store, policy)},
        Ec2Credentials(store, policy),
    )
    add(policy_pb2, "PolicyService", {"Policy": Policies(store, policy)}, Associations(store, policy))
    add(
        limit_pb2,
        "LimitService",
        {"RegisteredLimit": RegisteredLimits(store, policy), "Limit": UnifiedLimits(store, policy)},
        LimitExtras(store, policy),
    )
    regex, description = config.identity.password_regex, config.identity.password_regex_description
    configs = DomainConfigs(store, policy, regex, description)
    add(domain_config_pb2, "DomainConfigService", {}, configs)
    add(oauth_pb2, "OauthService", {"Consumer": Consumers(store, policy)})
