"""Compute API v2.1: how it words lists and errors."""

from collections.abc import Sequence
from typing import ClassVar, NoReturn

import grpc

from gateway.core.codec import JsonValue
from gateway.core.dialect import Dialect
from gateway.core.fault import Fault, Invalid, Statuses
from gateway.core.http import Request, Response
from gateway.core.table import Table

_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


class ComputeDialect(Dialect):
    """Errors are named objects, lists have at most 1,000 entries."""

    statuses: ClassVar[Statuses] = {
        grpc.StatusCode.RESOURCE_EXHAUSTED: 403,
        (grpc.StatusCode.FAILED_PRECONDITION, "GUEST_AGENT_AWAY"): 501,
    }
    default_limit = 1000
    request_id_headers: Sequence[str] = ("x-openstack-request-id", "x-compute-request-id")

    def unknown_attributes(self, table: Table, names: list[str], operation: str) -> NoReturn:
        shown = ", ".join(f"'{name[:64]}'" for name in names)
        verb = "was" if len(names) == 1 else "were"
        raise Invalid(
            f"Invalid input for field/attribute {table.body_key}. Value: given. "
            f"Additional properties are not allowed ({shown} {verb} unexpected)",
            field=names[0][:64],
        )

    def fault(self, request: Request, fault: Fault) -> Response:
        if fault.status == 406 and request.api.microversions is not None:
            return Response(406, _unsupported(request, fault), fault.headers)
        return super().fault(request, fault)

    def fault_body(self, request: Request, fault: Fault) -> JsonValue:
        name = _NAMES.get(fault.status, "computeFault")
        return {name: {"code": fault.status, "message": fault.message}}


def _unsupported(request: Request, fault: Fault) -> JsonValue:
    versions = request.api.microversions
    assert versions is not None
    return {
        "computeFault": {"code": 406, "message": fault.message},
        "errors": [
            {
                "status": 406,
                "title": "Requested microversion is unsupported",
                "detail": fault.message,
                "min_version": versions.minimum,
                "max_version": versions.maximum,
            }
        ],
    }
