"""Image API v2, "Schemas" of metadata definitions."""

from gateway.core.codec import JsonValue


def collection(plural: str, item: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The schema of a list of items."""
    return {
        "name": plural,
        "properties": {
            plural: {"type": "array", "items": item},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


_TEXT: JsonValue = {"type": "string"}
_TIME: JsonValue = {"type": "string", "format": "date-time", "readOnly": True}
_NAME: JsonValue = {"type": "string", "maxLength": 80}
_STRINGS: JsonValue = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
_TIMES: dict[str, JsonValue] = {"created_at": _TIME, "updated_at": _TIME}
_LINKS: dict[str, JsonValue] = {"self": _TEXT, "schema": _TEXT}
_DEFINITION: dict[str, JsonValue] = {
    "title": {"type": "string"},
    "description": {"type": "string"},
    "operators": {"type": "array", "items": {"type": "string"}},
    "type": {
        "type": "string",
        "enum": ["array", "boolean", "integer", "number", "object", "string", None],
    },
    "minimum": {"type": "number"},
    "maximum": {"type": "number"},
    "minLength": {"type": "integer", "minimum": 0},
    "maxLength": {"type": "integer", "minimum": 0},
    "pattern": {"type": "string", "format": "regex"},
    "enum": {"type": "array"},
    "readonly": {"type": "boolean"},
    "default": {},
    "items": {"type": "object"},
    "uniqueItems": {"type": "boolean", "default": False},
    "minItems": {"type": "integer", "minimum": 0},
    "maxItems": {"type": "integer", "minimum": 0},
    "additionalItems": {"type": "boolean"},
}
_DEFINITIONS: JsonValue = {
    "type": "object",
    "additionalProperties": {"type": "object", "required": ["title", "type"], "properties": _DEFINITION},
}

_OBJECT: dict[str, JsonValue] = {
    "name": "object",
    "properties": {
        "name": _NAME,
        "description": _TEXT,
        "required": _STRINGS,
        "properties": _DEFINITIONS,
        **_TIMES,
        **_LINKS,
    },
    "required": ["name"],
    "additionalProperties": False,
}
_PROPERTY: dict[str, JsonValue] = {
    "name": "property",
    "properties": {"name": _NAME, **_DEFINITION},
    "required": ["name", "title", "type"],
    "additionalProperties": False,
}
_TAG: dict[str, JsonValue] = {
    "name": "tag",
    "properties": {"name": _NAME, **_TIMES},
    "required": ["name"],
    "additionalProperties": False,
}
_ASSOCIATION: dict[str, JsonValue] = {
    "name": "resource_type_association",
    "properties": {
        "name": _NAME,
        "prefix": {"type": "string", "maxLength": 80},
        "properties_target": {"type": "string", "maxLength": 80},
        **_TIMES,
    },
    "required": ["name"],
    "additionalProperties": False,
}
_NAMESPACE: dict[str, JsonValue] = {
    "name": "namespace",
    "properties": {
        "namespace": _NAME,
        "display_name": {"type": "string", "maxLength": 80},
        "description": {"type": "string", "maxLength": 500},
        "visibility": {"type": "string", "enum": ["public", "private"]},
        "protected": {"type": "boolean"},
        "owner": {"type": "string", "maxLength": 255},
        "resource_type_associations": {"type": "array", "items": _ASSOCIATION},
        "properties": _DEFINITIONS,
        "objects": {"type": "array", "items": _OBJECT},
        "tags": {"type": "array", "items": _TAG},
        **_TIMES,
        **_LINKS,
    },
    "required": ["namespace"],
    "additionalProperties": False,
}
SCHEMAS: dict[str, JsonValue] = {
    "namespace": _NAMESPACE,
    "namespaces": collection("namespaces", _NAMESPACE),
    "object": _OBJECT,
    "objects": collection("objects", _OBJECT),
    "property": _PROPERTY,
    "properties": {
        "name": "properties",
        "properties": {"properties": _DEFINITIONS, "schema": _TEXT},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    },
    "tag": _TAG,
    "tags": collection("tags", _TAG),
    "resource_type": _ASSOCIATION,
    "resource_types": {
        "name": "resource_type_associations",
        "properties": {
            "resource_type_associations": {"type": "array", "items": _ASSOCIATION},
            "schema": _TEXT,
        },
        "links": [{"rel": "describedby", "href": "{schema}"}],
    },
}
