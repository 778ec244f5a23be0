"""Blocking work in a thread of its own, so that neither the event loop nor other blocking work waits for it."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, Self, TypeVar

T = TypeVar("T")


class Elsewhere(Protocol):
    """Runs blocking functions one after the other. Open while its `async with` lasts."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...
    async def run(self, work: Callable[[], T]) -> T:
        """The function's result, or what it raised. Once begun, the work is done even if nobody waits any more."""


class OwnThread:
    """One thread, made when it is first needed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()  # nothing is under way any more: whoever began it has waited for it

    async def run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


class Inline:
    """Does the work at once, in the event loop: for tests on virtual time."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None: ...

    async def run(self, work: Callable[[], T]) -> T:
        return work()
