"""Tasks that live as long as an object whose `async with` is spread over two methods."""

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self


class Tasks:
    """An `asyncio.TaskGroup`: a task that fails ends its owner. Unlike there, an exception of the owner passes as it is
    instead of wrapped in a group, so that whoever started the owner can tell what went wrong."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all tasks have ended."""
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            kind = error = trace = None
        await self._group.__aexit__(kind, error, trace)

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Run a task until it ends or `cancel` is called."""
        self._running.append(self._group.create_task(coroutine, name=name))

    def cancel(self) -> None:
        """Tell all tasks to end."""
        for task in self._running:
            task.cancel()
