"""Many ask for the same work: one run serves all who asked before it began."""

import asyncio
from collections.abc import Awaitable, Callable


class Batch:
    """Calls the function once for everybody who waits; who asks while it runs gets the next run."""

    def __init__(self, function: Callable[[], Awaitable[None]]) -> None:
        self._function = function
        self._waiting: list[asyncio.Future[None]] = []
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Return when a run that began after this call has ended. Raises what that run raised."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        await future

    @property
    def idle(self) -> bool:
        """Whether nobody waits and nothing runs."""
        return self._task is None

    async def _serve(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                error = await self._run_once()
                for future in waiting:
                    if future.done():  # its caller was cancelled
                        continue
                    if error is None:
                        future.set_result(None)
                    else:
                        future.set_exception(error)
        finally:
            self._task = None

    async def _run_once(self) -> Exception | None:
        try:
            await self._function()
        except Exception as error:  # handed to each caller
            return error
        return None
