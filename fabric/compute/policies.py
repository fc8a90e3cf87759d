"""Who may do what with compute: OpenStack's rule names with its secure defaults."""

from collections.abc import Mapping

from oslo_policy.policy import RuleDefault

ANY = "@"
ADMIN = "rule:context_is_admin"
OWNER_READ = "rule:project_reader_or_admin"
OWNER_WRITE = "rule:project_member_or_admin"
_API = "os_compute_api"

_RULES: Mapping[str, str] = {
    "context_is_admin": "role:admin",
    "project_reader_or_admin": "role:admin or (role:reader and project_id:%(project_id)s)",
    "project_member_or_admin": "role:admin or (role:member and project_id:%(project_id)s)",
    f"{_API}:servers:index": OWNER_READ,
    f"{_API}:servers:detail": OWNER_READ,
    f"{_API}:servers:index:get_all_tenants": ADMIN,
    f"{_API}:servers:detail:get_all_tenants": ADMIN,
    f"{_API}:servers:show": OWNER_READ,
    f"{_API}:servers:show:host_status": ADMIN,
    f"{_API}:servers:create": OWNER_WRITE,
    f"{_API}:servers:create:forced_host": ADMIN,
    f"{_API}:servers:update": OWNER_WRITE,
    f"{_API}:servers:delete": OWNER_WRITE,
    f"{_API}:servers:start": OWNER_WRITE,
    f"{_API}:servers:stop": OWNER_WRITE,
    f"{_API}:servers:reboot": OWNER_WRITE,
    f"{_API}:os-pause-server:pause": OWNER_WRITE,
    f"{_API}:os-pause-server:unpause": OWNER_WRITE,
    f"{_API}:os-suspend-server:suspend": OWNER_WRITE,
    f"{_API}:os-suspend-server:resume": OWNER_WRITE,
    f"{_API}:os-lock-server:lock": OWNER_WRITE,
    f"{_API}:os-lock-server:unlock": OWNER_WRITE,
    f"{_API}:os-lock-server:unlock:unlock_override": ADMIN,
    f"{_API}:os-attach-interfaces:list": OWNER_READ,
    f"{_API}:os-attach-interfaces:show": OWNER_READ,
    f"{_API}:os-attach-interfaces:create": OWNER_WRITE,
    f"{_API}:os-attach-interfaces:delete": OWNER_WRITE,
    f"{_API}:os-security-groups:list": OWNER_READ,
    f"{_API}:os-security-groups:add": OWNER_WRITE,
    f"{_API}:os-security-groups:remove": OWNER_WRITE,
    f"{_API}:os-console-output": OWNER_WRITE,
    f"{_API}:os-instance-actions:list": OWNER_READ,
    f"{_API}:os-instance-actions:show": OWNER_READ,
    f"{_API}:os-extended-server-attributes": ADMIN,
    f"{_API}:flavors": ANY,
    f"{_API}:os-flavor-manage:create": ADMIN,
    f"{_API}:os-flavor-manage:update": ADMIN,
    f"{_API}:os-flavor-manage:delete": ADMIN,
    f"{_API}:os-flavor-access": ADMIN,
    f"{_API}:os-flavor-access:add_tenant_access": ADMIN,
    f"{_API}:os-flavor-access:remove_tenant_access": ADMIN,
    f"{_API}:os-flavor-extra-specs:index": ANY,
    f"{_API}:os-flavor-extra-specs:create": ADMIN,
    f"{_API}:os-flavor-extra-specs:update": ADMIN,
    f"{_API}:os-flavor-extra-specs:delete": ADMIN,
    f"{_API}:os-keypairs:index": "role:admin or user_id:%(user_id)s",
    f"{_API}:os-keypairs:show": "role:admin or user_id:%(user_id)s",
    f"{_API}:os-keypairs:create": "role:admin or user_id:%(user_id)s",
    f"{_API}:os-keypairs:delete": "role:admin or user_id:%(user_id)s",
    f"{_API}:os-hypervisors": ADMIN,
    f"{_API}:os-services:list": ADMIN,
    f"{_API}:os-services:update": ADMIN,
    f"{_API}:os-services:delete": ADMIN,
    f"{_API}:os-quota-sets:show": OWNER_READ,
    f"{_API}:os-quota-sets:defaults": ANY,
    f"{_API}:os-quota-sets:detail": OWNER_READ,
    f"{_API}:os-quota-sets:update": ADMIN,
    f"{_API}:os-quota-sets:delete": ADMIN,
    f"{_API}:limits:other_project": "role:admin",
}

RULES = [RuleDefault(name, check) for name, check in _RULES.items()]
