"""When a hub's process looks for garbage in cycles.

Python looks whenever some hundred objects more have been made than ended. A hub of thousands of robots has hundreds of
thousands of objects that stay, and messages make no cycles: up to a third of its time went into looking at the same
objects again and again. So it looks after many more, and by the clock, for what does make cycles (a browser's
connection leaves a quarter of a megabyte).
"""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator

from botyard_schemas.clock import Clock

# Young objects that are worth a look before their time.
YOUNG = 10_000
# Seconds between looks at the young ones, and how many of them go before one at everything, which holds up the rest for
# some tenths of a second with ten thousand robots.
EVERY = 30.0
ALL_EACH = 10


@contextlib.asynccontextmanager
async def collecting_seldom(clock: Clock) -> AsyncIterator[None]:
    """For a process that is all hub, once it has started: what is there by now stays."""
    before = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 1000)
    task = asyncio.create_task(_collect(clock), name="hub.garbage")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        gc.set_threshold(*before)
        gc.unfreeze()


async def _collect(clock: Clock) -> None:
    while True:
        for _ in range(ALL_EACH - 1):
            await clock.sleep(EVERY)
            gc.collect(1)
        await clock.sleep(EVERY)
        gc.collect()
