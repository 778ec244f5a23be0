"""How well a process holds real time, and what that costs."""

import asyncio
import contextlib
import gc
import resource
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self

from botyard_plugins.simulation.report import Pace
from botyard_schemas.clock import Clock

# Seconds between two looks at the clock, and how many of the latest looks count.
EVERY = 0.1
LOOKS = 100_000


class Pacer:
    """Looks how late the loop is while its `async with` lasts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._late: deque[float] = deque([0.0], maxlen=LOOKS)

    async def __aenter__(self) -> Self:
        self._cpu = time.process_time()
        self._task = asyncio.create_task(self._look(), name="simulation.pace")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def pace(self, memory: float | None) -> Pace:
        """What was seen so far; `memory` is that of a robot, in MiB."""
        late = sorted(self._late)
        return Pace(
            late=round(late[len(late) // 2], 4),
            late_99=round(late[len(late) * 99 // 100], 4),
            late_max=round(late[-1], 4),
            cpu=round(time.process_time() - self._cpu, 2),
            memory=None if memory is None else round(memory, 3),
        )

    async def _look(self) -> None:
        while True:
            due = self._clock.monotonic() + EVERY
            await self._clock.sleep(EVERY)
            self._late.append(max(0.0, self._clock.monotonic() - due))


def memory() -> float | None:
    """MiB that this process has in memory; None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * resource.getpagesize() / 2**20


def raise_file_limit(wanted: int) -> int | None:
    """Let this process have so many open files. Gives how many it may have when that is less, else None."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return None if most >= wanted else most


@contextlib.contextmanager
def rare_collections() -> Iterator[None]:
    """A fleet is a million objects that stay; to look through them again and again would take a tenth of the time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextlib.asynccontextmanager
async def settled_garbage() -> AsyncIterator[None]:
    """What is there by now stays, and is not looked at for garbage."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
