"""Placement API: how it words errors."""

from typing import ClassVar

import grpc

from gateway.core.codec import JsonValue
from gateway.core.dialect import Dialect
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request

_CODES = {
    "CONCURRENT_UPDATE": "concurrent_update",
    "STALE_REVISION": "concurrent_update",
    "CONFLICT": "concurrent_update",
    "DUPLICATE_NAME": "duplicate_name",
    "RESOURCE_PROVIDER_EXISTS": "duplicate_name",
    "INVENTORY_IN_USE": "inventory.inuse",
    "QUOTA_IN_USE": "inventory.inuse",
    "RESOURCE_PROVIDER_IN_USE": "resource_provider.inuse",
    "CANNOT_DELETE_PARENT": "resource_provider.cannot_delete_parent",
    "RESOURCE_PROVIDER_NOT_FOUND": "resource_provider.not_found",
    "QUERY_BAD_VALUE": "query.bad_value",
    "QUERY_DUPLICATE_KEY": "query.duplicate_key",
    "QUERY_MISSING_VALUE": "query.missing_value",
}


def _detail(fault: Fault) -> str:
    if fault.reason == "MALFORMED_BODY":
        return f"Malformed JSON: {fault.message}"
    if isinstance(fault, Invalid) and fault.field:
        return f"JSON does not validate: {fault.message}"
    return fault.message


class PlacementDialect(Dialect):
    """Errors are a list of one, with a code since 1.23."""

    statuses: ClassVar[Statuses] = {grpc.StatusCode.RESOURCE_EXHAUSTED: 409}

    def fault_body(self, request: Request, fault: Fault) -> JsonValue:
        told: dict[str, JsonValue] = {
            "status": fault.status,
            "title": fault.title,
            "detail": _detail(fault),
            "request_id": request.request_id,
        }
        versions = request.api.microversions
        if request.microversion >= (1, 23):
            told["code"] = f"placement.{_CODES.get(fault.reason, 'undefined_code')}"
        if fault.status == 406 and versions is not None:
            told |= {"min_version": versions.minimum, "max_version": versions.maximum}
        return {"errors": [told]}
