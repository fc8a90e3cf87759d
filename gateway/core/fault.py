"""What a public call can fail with, before its API gives it a shape (AIP-193 on the inside)."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

Code = grpc.StatusCode
Statuses = Mapping[Code | tuple[Code, str], int]  # HTTP status by gRPC code, or by code and reason

STATUSES: Statuses = {
    Code.INVALID_ARGUMENT: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.FAILED_PRECONDITION: 409,
    Code.ABORTED: 409,
    Code.UNIMPLEMENTED: 501,
    Code.CANCELLED: 503,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 503,
}  # all others: 500
_HIDDEN = {501: "This is not implemented here.", 503: "The service is unavailable, try again later."}


class Fault(Exception):
    """An answer other than success; reason is UPPER_SNAKE_CASE, facts are what ErrorInfo.metadata held."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        reason: str = "",
        code: Code | None = None,
        headers: Mapping[str, str] | None = None,
        facts: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.reason = reason
        self.code = code
        self.headers = dict(headers or {})
        self.facts = dict(facts or {})

    @property
    def title(self) -> str:
        """The standard phrase of the status, such as "Bad Request"."""
        return HTTPStatus(self.status).phrase

    @property
    def type(self) -> str:
        """The reason in CamelCase: NETWORK_IN_USE is NetworkInUse. Without one, the title's words."""
        if self.reason:
            return "".join(word.capitalize() for word in self.reason.split("_"))
        return "".join(word for word in self.title.split() if word.isalpha())


class Invalid(Fault):
    """The caller's input is wrong: 400, nothing was sent upstream. field is its public name."""

    def __init__(
        self, message: str, *, field: str = "", reason: str = "INVALID_INPUT", status: int = 400
    ) -> None:
        super().__init__(
            status,
            message,
            reason=reason,
            code=Code.INVALID_ARGUMENT,
            facts={"field": field} if field else None,
        )
        self.field = field


def from_rpc(error: grpc.aio.AioRpcError, *overrides: Statuses) -> Fault:
    """The fault of a failed RPC; the first override that knows (code, reason) or code decides the status."""
    code = error.code()
    reason, facts = _error_info(error)
    status = next(
        (table[key] for table in (*overrides, STATUSES) for key in ((code, reason), code) if key in table),
        500,
    )
    message = error.details() or ""
    if status >= 500 and not reason:  # words of the transport, or of a bug: not for callers
        message = _HIDDEN.get(status, "The server has met an unexpected error.")
    return Fault(status, message, reason=reason, code=code, facts=facts)


def _error_info(error: grpc.aio.AioRpcError) -> tuple[str, dict[str, str]]:
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key == "grpc-status-details-bin":
            info = error_details_pb2.ErrorInfo()
            for detail in status_pb2.Status.FromString(value).details:
                if detail.Unpack(info):
                    return info.reason, dict(info.metadata)
    return "", {}
