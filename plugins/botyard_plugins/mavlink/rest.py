"""A vehicle is brought to rest, and what is left is told, both before the runtime loses patience with `stop`."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from botyard_edge.driver import DriverError
from botyard_edge.timing import wait_event
from botyard_plugins.mavlink.link import GoneError, SilentError
from botyard_plugins.mavlink.order import Cockpit, Order
from botyard_schemas.clock import Clock

# Seconds in which it has to be seen to hold, and in which it has to be told that it does not. The runtime gives 5 s.
HOLDS_WITHIN, TOLD_WITHIN = 4.0, 0.5


async def hold(cockpit: Cockpit) -> None:
    """Let the vehicle stay where it is, and see it do so. Raises DriverError."""
    order, over, clock = Order(cockpit, "stop", _nobody), asyncio.Event(), cockpit.link.clock
    order.take_over()
    work = asyncio.create_task(order.hold(), name="edge.mavlink.hold")
    work.add_done_callback(lambda _: over.set())
    try:
        if not await wait_event(over, clock, HOLDS_WITHIN):
            raise SilentError(f"it was told to, and is not seen to after {HOLDS_WITHIN:g} s")
        work.result()
    except (DriverError, SilentError, GoneError) as error:
        raise DriverError(f"the vehicle does not hold its position: {error}") from error
    finally:
        work.cancel()


class Asides:
    """Work that nobody waits for longer than a moment, and that goes on by itself then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself holds no task

    async def run(self, work: Coroutine[Any, Any, None], name: str, seconds: float) -> None:
        """Do it, and wait for its end so long. Raises what it raises by then."""
        over, task = asyncio.Event(), asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: over.set())
        if await wait_event(over, self._clock, seconds):
            task.result()


async def _nobody(_: float) -> None:
    """Hears how far a stop is."""
