"""Networking API v2.0: how it words lists and errors."""

from typing import ClassVar, NoReturn

import grpc

from fabric.type.v1 import query_pb2
from gateway.core.codec import JsonValue
from gateway.core.column import MISSING
from gateway.core.dialect import Dialect, Listing
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request
from gateway.core.table import Table

Op = query_pb2.Filter.Op
_TAG_FILTERS: dict[str, Op.ValueType] = {
    "tags": query_pb2.Filter.OP_ALL,
    "tags-any": query_pb2.Filter.OP_IN,
    "not-tags": query_pb2.Filter.OP_NOT_ALL,
    "not-tags-any": query_pb2.Filter.OP_NOT_IN,
}
_FIXED_IPS: dict[str, tuple[str, Op.ValueType]] = {
    "ip_address": ("spec.fixed_ips.ip_address", query_pb2.Filter.OP_IN),
    "subnet_id": ("spec.fixed_ips.subnet_id", query_pb2.Filter.OP_IN),
    "ip_address_substr": ("spec.fixed_ips.ip_address", query_pb2.Filter.OP_CONTAINS),
}
_TYPES = {  # where Neutron's word is not the reason in CamelCase
    "HTTP_BAD_REQUEST": "HTTPBadRequest",
    "MALFORMED_BODY": "HTTPBadRequest",
    "MISSING_ATTRIBUTE": "HTTPBadRequest",
    "NO_SUCH_PATH": "HTTPNotFound",
    "INVALID_ARGUMENT": "InvalidInput",
    "PERMISSION_DENIED": "PolicyNotAuthorized",
    "QUOTA_EXCEEDED": "OverQuota",
    "DNS_NAME_SERVERS_EXHAUSTED": "DNSNameServersExhausted",
    "PORT_SECURITY_AND_IP_REQUIRED_FOR_SECURITY_GROUPS": "PortSecurityAndIPRequiredForSecurityGroups",
    "QOS_RULES_CONFLICT": "QoSRulesConflict",
    "QOS_RULE_PARAMETER_CONFLICT": "QoSRuleParameterConflict",
    "QOS_POLICY_DEFAULT_ALREADY_EXISTS": "QoSPolicyDefaultAlreadyExists",
    "FLOATING_IP_NOT_FOUND": "FloatingIPNotFound",
    "FLOATING_IP_PORT_ALREADY_ASSOCIATED": "FloatingIPPortAlreadyAssociated",
    "EXTERNAL_GATEWAY_FOR_FLOATING_IP_NOT_FOUND": "ExternalGatewayForFloatingIPNotFound",
    "ROUTER_INTERFACE_IN_USE_BY_FLOATING_IP": "RouterInterfaceInUseByFloatingIP",
    "PORT_HAS_BINDING_FLOATING_IP": "PortHasBindingFloatingIP",
    "DEVICE_ID_NOT_OWNED_BY_TENANT": "DeviceIDNotOwnedByTenant",
    "NETWORK_MTU_SUBNET_CONFLICT": "NetworkMTUSubnetConflict",
    "NETWORK_HOSTED_BY_DHCP_AGENT": "NetworkHostedByDHCPAgent",
}
_NO_LIMIT = 2**31 - 1


class NetworkDialect(Dialect):
    """Pages go both ways, tags are filtered by sets, errors are NeutronError."""

    statuses: ClassVar[Statuses] = {
        grpc.StatusCode.RESOURCE_EXHAUSTED: 409,
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "NO_NETWORK_AVAILABLE"): 503,
        (grpc.StatusCode.FAILED_PRECONDITION, "FLAVOR_DISABLED"): 503,
        (grpc.StatusCode.FAILED_PRECONDITION, "SERVICE_PROFILE_DISABLED"): 503,
    }
    max_limit = _NO_LIMIT

    def unwrap(self, table: Table, body: JsonValue, request: Request) -> dict[str, JsonValue]:
        inner = body.get(table.body_key) if isinstance(body, dict) else None
        if inner is None:
            raise _bad("Resource body required", table.body_key)
        if not isinstance(inner, dict):
            raise _bad(f"Body contains invalid data: '{table.body_key}' must be an object", table.body_key)
        return inner

    def unknown_attributes(self, table: Table, names: list[str], operation: str) -> NoReturn:
        shown = ", ".join(name[:64] for name in names)
        raise _bad(f"Unrecognized attribute(s) '{shown}'", names[0][:64])

    def not_writable(self, table: Table, name: str, operation: str) -> None:
        if operation == "create":
            raise _bad(f"Attribute '{name}' not allowed in POST", name)
        raise _bad(f"Cannot update read-only attribute {name}", name)

    # -- lists

    def listing(self, request: Request, table: Table) -> Listing:
        keys, directions = request.args("sort_key"), request.args("sort_dir")
        if directions and len(keys) != len(directions):
            raise _bad("The number of sort_keys and sort_dirs must be same", "sort_key")
        listing = super().listing(request, table)
        if keys and "id" not in keys and "id" in table.sorts:
            listing.query.sorts.add(path=table.sorts["id"])  # pages need one order
        return listing

    def sort(self, query: query_pb2.Query, table: Table, key: str, direction: str) -> None:
        if key not in table.sorts:
            raise _bad(f"'{key[:64]}' is invalid attribute for sort key", "sort_key")
        super().sort(query, table, key, direction)

    def condition(
        self, request: Request, table: Table, listing: Listing, name: str, values: list[str]
    ) -> None:
        filters = listing.query.filters
        if name == "page_reverse":
            listing.query.backwards = values[-1].lower() in ("true", "1")
        elif name in _TAG_FILTERS and "tags" in table.shape.by_name:
            tags = [tag for value in values for tag in value.split(",")]
            filters.add(path="meta.tags", op=_TAG_FILTERS[name], values=tags)
        elif name == "changed_since" and "updated_at" in table.filters:
            column = table.filters["updated_at"]
            since = column.codec.filter_values(values[-1], name)
            filters.add(path=column.field.path, op=query_pb2.Filter.OP_GE, values=since)
        elif name == "fixed_ips" and table.plural == "ports":
            _by_address(listing, values)
        elif (const := _const(table, name)) is not MISSING:
            if const not in values:
                filters.add(path="meta.id", op=query_pb2.Filter.OP_IN)  # none
        else:
            super().condition(request, table, listing, name, values)

    def unknown_filter(self, table: Table, name: str, values: list[str]) -> None:
        raise _bad(f"['{name[:64]}'] is invalid attribute for filtering", name[:64])

    # -- errors

    def fault_body(self, request: Request, fault: Fault) -> JsonValue:
        kind, message = _TYPES.get(fault.reason, fault.type), fault.message
        if isinstance(fault, Invalid) and fault.reason == "INVALID_INPUT":
            kind = "HTTPBadRequest"
            message = f"Invalid input for {fault.field}. Reason: {message}" if fault.field else message
        if fault.reason == "QUOTA_EXCEEDED" and "resource" in fault.facts:
            message = f"Quota exceeded for resources: ['{fault.facts['resource'].rpartition('.')[2]}']."
        return {"NeutronError": {"type": kind, "message": message, "detail": ""}}


def _bad(message: str, field: str) -> Invalid:
    return Invalid(message, field=field, reason="HTTP_BAD_REQUEST")


def _const(table: Table, name: str) -> JsonValue:
    """What every item has as that attribute, if it is always the same."""
    columns = table.shape.by_name.get(name, ())
    return next((column.field.const for column in columns if column.field.filter), MISSING)


def _by_address(listing: Listing, values: list[str]) -> None:
    """fixed_ips=ip_address=10.0.0.1: of each kind, one of those that are named."""
    wanted: dict[str, list[str]] = {}
    for value in values:
        kind, _, text = value.partition("=")
        if kind not in _FIXED_IPS:
            raise _bad(f"Invalid filter fixed_ips: '{value[:80]}'", "fixed_ips")
        wanted.setdefault(kind, []).append(text)
    for kind, texts in wanted.items():
        path, op = _FIXED_IPS[kind]
        listing.query.filters.add(path=path, op=op, values=texts)
