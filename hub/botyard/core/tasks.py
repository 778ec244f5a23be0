"""Tasks that live as long as an object whose `async with` is spread over two methods."""

import asyncio
import logging
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Tasks:
    """An `asyncio.TaskGroup`: a task that fails ends its owner. Unlike there, an exception of the owner passes as it is
    instead of wrapped in a group, so that whoever started the owner can tell what went wrong."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[Any]] = set()
        self._whole: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all tasks have ended."""
        await asyncio.gather(*self._whole, return_exceptions=True)
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            kind = error = trace = None
        await self._group.__aexit__(kind, error, trace)

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task until it ends or `cancel` is called."""
        task = self._group.create_task(coroutine, name=name)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def whole(self, coroutine: Coroutine[Any, Any, T], name: str) -> T:
        """Do something that must not stop half way: it goes on when the caller is cancelled. Raises what it raises."""
        task = asyncio.create_task(coroutine, name=name)
        self._whole.add(task)
        task.add_done_callback(self._whole.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_say_failure)  # nobody else is there to hear of it
            raise

    def cancel(self) -> None:
        """Tell all tasks to end."""
        for task in tuple(self._running):
            task.cancel()


def _say_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("%s failed: %s", task.get_name(), error)
