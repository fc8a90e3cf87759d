"""Validation of tokens in batches: what arrives while a call is under way goes together in the next."""

import asyncio
from collections import deque

import grpc

from fabric.identity.v1 import token_pb2 as pb
from fabric.identity.v1.token_pb2_grpc import TokenServiceStub
from gateway.core.fault import STATUSES, Fault, from_rpc
from gateway.core.http import Request

MAX_BATCH = 256
_CODES = {code.value[0]: code for code in grpc.StatusCode}
_Entry = tuple[pb.ValidateTokensRequest.Item, "asyncio.Future[pb.ValidateTokensResponse.Result]"]


class Validations:
    """For one event loop."""

    def __init__(self) -> None:
        self._waiting: deque[_Entry] = deque()
        self._task: asyncio.Task[None] | None = None

    async def ask(
        self, request: Request, item: pb.ValidateTokensRequest.Item
    ) -> pb.ValidateTokensResponse.Result:
        """What the controllers say of one token. Raises Fault."""
        future: asyncio.Future[pb.ValidateTokensResponse.Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(request))
        result = await future
        if not result.document:
            code = _CODES.get(result.code, grpc.StatusCode.INTERNAL)
            raise Fault(STATUSES.get(code, 500), result.message, reason=result.reason, code=code)
        return result

    async def _run(self, request: Request) -> None:
        while self._waiting:
            count = min(len(self._waiting), MAX_BATCH)
            batch = [self._waiting.popleft() for _ in range(count)]
            message = pb.ValidateTokensRequest(items=[item for item, _ in batch])
            try:
                method = request.stub(TokenServiceStub).ValidateTokens
                reply, _ = await request.upstream.call(
                    method, message, (("x-request-id", request.request_id),), timeout=30.0, retry=True
                )
            except BaseException as error:
                fault: BaseException = error
                if isinstance(error, grpc.aio.AioRpcError):
                    fault = from_rpc(error)
                for _, future in batch:
                    if not future.done():
                        future.set_exception(_copy(fault))
                if not isinstance(error, grpc.aio.AioRpcError):
                    raise
                continue
            for (_, future), result in zip(batch, reply.results, strict=True):
                if not future.done():
                    future.set_result(result)


def _copy(fault: BaseException) -> BaseException:
    """Each who waits gets one of its own."""
    if isinstance(fault, Fault):
        return Fault(fault.status, fault.message, reason=fault.reason, code=fault.code)
    return Fault(503, "The service is unavailable, try again later.")
