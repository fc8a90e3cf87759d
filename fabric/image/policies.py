"""Who may do what with images: Glance's rule names and their defaults."""

from oslo_policy.policy import RuleDefault

_ADMIN = "rule:context_is_admin"
_MEMBER = f"{_ADMIN} or (role:member and project_id:%(project_id)s)"
_READER = f"{_ADMIN} or (role:reader and project_id:%(project_id)s)"
_SEES = (
    "(project_id:%(project_id)s or project_id:%(member_id)s or 'community':%(visibility)s or "
    "'public':%(visibility)s or 'shared':%(visibility)s)"
)
_OWNER_OR_MEMBER = f"{_ADMIN} or (role:reader and (project_id:%(project_id)s or project_id:%(member_id)s))"
_SEES_METADEF = f"{_ADMIN} or (role:reader and (project_id:%(project_id)s or 'public':%(visibility)s))"

_IMAGE = {
    "add_image": f"{_ADMIN} or (role:member and project_id:%(project_id)s and project_id:%(owner)s)",
    "delete_image": _MEMBER,
    "get_image": f"{_ADMIN} or (role:reader and {_SEES})",
    "get_images": _READER,
    "modify_image": _MEMBER,
    "publicize_image": _ADMIN,
    "communitize_image": _MEMBER,
    "download_image": f"{_ADMIN} or (role:member and {_SEES})",
    "upload_image": _MEMBER,
    "delete_image_location": _ADMIN,
    "get_image_location": _READER,
    "set_image_location": _MEMBER,
    "add_image_location": _MEMBER,
    "fetch_image_location": "role:service or rule:context_is_admin",
    "add_member": _MEMBER,
    "delete_member": _MEMBER,
    "get_member": _OWNER_OR_MEMBER,
    "get_members": _OWNER_OR_MEMBER,
    "modify_member": f"{_ADMIN} or (role:member and project_id:%(member_id)s)",
    "manage_image_cache": _ADMIN,
    "deactivate": _MEMBER,
    "reactivate": _MEMBER,
    "copy_image": _ADMIN,
    "stores_info_detail": _ADMIN,
    "tasks_api_access": _ADMIN,
    "get_task": _READER,
    "get_tasks": _READER,
    "add_task": _ADMIN,
    "modify_task": _ADMIN,
}
_METADEF = {
    "metadef_default": "",
    "metadef_admin": _ADMIN,
    "get_metadef_namespace": _SEES_METADEF,
    "get_metadef_namespaces": _SEES_METADEF,
    "modify_metadef_namespace": "rule:metadef_admin",
    "add_metadef_namespace": "rule:metadef_admin",
    "delete_metadef_namespace": "rule:metadef_admin",
    "get_metadef_object": _SEES_METADEF,
    "get_metadef_objects": _SEES_METADEF,
    "modify_metadef_object": "rule:metadef_admin",
    "add_metadef_object": "rule:metadef_admin",
    "delete_metadef_object": "rule:metadef_admin",
    "list_metadef_resource_types": _SEES_METADEF,
    "get_metadef_resource_type": _SEES_METADEF,
    "add_metadef_resource_type_association": "rule:metadef_admin",
    "remove_metadef_resource_type_association": "rule:metadef_admin",
    "get_metadef_property": _SEES_METADEF,
    "get_metadef_properties": _SEES_METADEF,
    "modify_metadef_property": "rule:metadef_admin",
    "add_metadef_property": "rule:metadef_admin",
    "remove_metadef_property": "rule:metadef_admin",
    "get_metadef_tag": _SEES_METADEF,
    "get_metadef_tags": _SEES_METADEF,
    "modify_metadef_tag": "rule:metadef_admin",
    "add_metadef_tag": "rule:metadef_admin",
    "add_metadef_tags": "rule:metadef_admin",
    "delete_metadef_tag": "rule:metadef_admin",
    "delete_metadef_tags": "rule:metadef_admin",
}

RULES = [
    RuleDefault("context_is_admin", "role:admin"),
    *(RuleDefault(name, check) for name, check in (_IMAGE | _METADEF).items()),
]
