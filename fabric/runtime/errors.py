"""Errors that a caller is meant to see, and their form on the wire (AIP-193)."""

from typing import Any, ClassVar, NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

DOMAIN = "fabric"


class FabricError(Exception):
    """An error with a message for people and facts for programs.

    Facts travel as ErrorInfo.metadata; None is left out, everything else becomes a string.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: str = "INTERNAL"

    def __init__(self, message: str, *, reason: str = "", **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.facts = {name: str(value) for name, value in facts.items() if value is not None}


class InvalidArgument(FabricError):
    """The request is wrong whatever the state of the cloud; name the field in facts."""

    code, reason = grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"


class Unauthenticated(FabricError):
    """No valid token or credentials."""

    code, reason = grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"


class PermissionDenied(FabricError):
    """The policy says no."""

    code, reason = grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED"


class NotFound(FabricError):
    """It does not exist, or the caller may not know that it does."""

    code, reason = grpc.StatusCode.NOT_FOUND, "NOT_FOUND"


class AlreadyExists(FabricError):
    """A claim (id, name, address...) is taken."""

    code, reason = grpc.StatusCode.ALREADY_EXISTS, "ALREADY_EXISTS"


class FailedPrecondition(FabricError):
    """The resource is not in a state in which this can be done."""

    code, reason = grpc.StatusCode.FAILED_PRECONDITION, "FAILED_PRECONDITION"


class Conflict(FabricError):
    """Somebody else was faster; trying again may succeed."""

    code, reason = grpc.StatusCode.ABORTED, "CONFLICT"


class StaleRevision(Conflict):
    """The record changed since it was read."""

    reason = "STALE_REVISION"


class LeaseLost(Conflict):
    """The lease under which the writer worked is gone, and so is its right to write."""

    reason = "LEASE_LOST"


class Exhausted(FabricError):
    """Nothing of the asked kind is free."""

    code, reason = grpc.StatusCode.RESOURCE_EXHAUSTED, "EXHAUSTED"


class QuotaExceeded(Exhausted):
    """Facts: resource, limit, usage, requested."""

    reason = "QUOTA_EXCEEDED"


class PoolFull(Exhausted):
    """The node's storage has no room."""

    reason = "POOL_FULL"


class Unimplemented(FabricError):
    """Known, and not offered here."""

    code, reason = grpc.StatusCode.UNIMPLEMENTED, "UNIMPLEMENTED"


class Unavailable(FabricError):
    """What is needed does not answer now; facts and time heal it."""

    code, reason = grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"


_BY_CODE: dict[grpc.StatusCode, type[FabricError]] = {
    kind.code: kind
    for kind in (
        InvalidArgument,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        AlreadyExists,
        FailedPrecondition,
        Conflict,
        Exhausted,
        Unimplemented,
        Unavailable,
    )
}
_BY_CODE[grpc.StatusCode.DEADLINE_EXCEEDED] = Unavailable


def of_code(number: int, message: str, reason: str) -> FabricError:
    """The error that an answer names by gRPC's number."""
    code = next((code for code in grpc.StatusCode if code.value[0] == number), grpc.StatusCode.UNKNOWN)
    return _BY_CODE.get(code, FabricError)(message, reason=reason)


def as_told(error: FabricError) -> FabricError:
    """The error as a caller has it who was told over the wire."""
    told = _BY_CODE.get(error.code, FabricError)(error.message, reason=error.reason)
    told.facts = error.facts
    return told


def to_status(error: FabricError) -> status_pb2.Status:
    """The google.rpc.Status with an ErrorInfo that tells of the error."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.facts)
    packed = any_pb2.Any()
    packed.Pack(info)
    code = code_pb2.Code.Value(error.code.name)
    return status_pb2.Status(code=code, message=error.message, details=[packed])


async def abort(context: Any, error: FabricError) -> NoReturn:
    """End the call with the error."""
    wire = rpc_status.to_status(to_status(error))
    await context.abort(wire.code, wire.details, wire.trailing_metadata)
    raise AssertionError("abort returned")


def from_rpc(error: grpc.aio.AioRpcError) -> FabricError:
    """The error that the other side meant; INTERNAL and unknown codes stay FabricError."""
    kind = _BY_CODE.get(error.code(), FabricError)
    trailing: Any = error.trailing_metadata() or ()
    for key, value in trailing:
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status.FromString(value)
        for detail in status.details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                made = kind(status.message, reason=info.reason)
                made.facts = dict(info.metadata)
                return made
    return kind(error.details() or error.code().name)
