"""Virtual time: an event loop in which waiting takes no time, so that a day passes as fast as it can be computed.

Everything that waits by the loop is included, also `asyncio.timeout` and `loop.call_later`: when nothing is ready to
run, time jumps to the next timer. The same program with the same seed therefore runs the same way each time, as long as
it talks to nobody outside of the process. Work that others do in threads is done in the loop, and takes no time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Executor
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

START = 1_763_712_000_000_000


class DeadlockError(RuntimeError):
    """Everything waits, and nothing is left that could ever happen."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose `time` begins with 0 and jumps. Raises DeadlockError where others would wait for ever."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._elapsed

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> "asyncio.Future[T]":
        """As asyncio's, but done at once and here: threads would end in any order."""
        del executor
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the caller's
            done.set_exception(error)
        return done

    def jump(self, timeout: float | None) -> None:
        """Nothing is ready for so many seconds, None: for ever."""
        if timeout is None:
            raise DeadlockError("everything waits, and nothing is left that could happen")
        # The timer's own moment and not a sum, which might come to lie just before it.
        timers = self._scheduled  # type: ignore[attr-defined]
        self._elapsed = max(self._elapsed, timers[0].when()) if timers else self._elapsed + timeout


class _Jumping(selectors.BaseSelector):
    """Looks for signals and other calls from outside, as the loop's own would, and jumps instead of waiting."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return self._real.select(0)
        if not (found := self._real.select(0)):
            self._loop.jump(timeout)
        return found

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()


class LoopClock:
    """The clock of a loop. `start` is its wall time at the loop's beginning, in microseconds since 1970."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: int = START) -> None:
        self._loop = loop
        self._start = start

    def now(self) -> int:
        return self._start + round(self._loop.time() * 1e6)

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def loop_seconds(self, seconds: float) -> float | None:
        return seconds


def run(main: Coroutine[Any, Any, T], *, context: Context | None = None) -> T:
    """As `asyncio.run`, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main, context=context)
