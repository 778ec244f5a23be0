"""Runs coroutines on a virtual loop of its own for code that is not asynchronous, or runs on another loop."""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from botyard_schemas.virtual import VirtualLoop

T = TypeVar("T")


class Offstage:
    """A loop in virtual time that stands still between calls. It runs in the caller's thread; where another loop runs
    there already, as in asynchronous tests, in a thread of its own, for which the caller waits."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=VirtualLoop)
        self._thread: ThreadPoolExecutor | None = None
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if self._begun:
                self._there(self._runner.close)
        finally:
            if self._thread is not None:
                self._thread.shutdown()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, or what it raised. Tasks that it leaves behind go on in the next call.

        Raises RuntimeError when it was called first without a running loop, and is now called within one.
        """
        if not self._begun:
            self._begun = True
            if _loop_runs():
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="botyard.stage")
        elif self._thread is None and _loop_runs():
            work.close()
            raise RuntimeError(
                "robots that were started outside of an asynchronous test cannot be used within it: "
                "start them in the test, or make it a plain function"
            )
        return self._there(lambda: self._runner.run(work))

    def _there(self, call: Callable[[], T]) -> T:
        return call() if self._thread is None else self._thread.submit(call).result()


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
