"""Brings drivers to rest: each by itself and within a bounded time, whatever the others do."""

import asyncio
import logging
from collections import Counter

from botyard_edge.driver import Driver
from botyard_edge.pulse import ended_within
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

# Seconds that a driver's `stop` may take. Past them its `halt` is all that is left.
STOP_WITHIN = 5.0
# Calls of one driver's `stop` that may be under way: a new wish to stop does not wait for an older one, since the robot
# may have moved in between. One that gets no further call is halted.
MAX_STOPS = 4


class Stopper:
    """Knows which calls of `stop` are under way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: Counter[Driver] = Counter()
        self._stuck: set[asyncio.Task[None]] = set()

    async def stop(self, name: str, driver: Driver) -> bool:
        """Bring a driver to rest. Whether it says that it is; else it was halted."""
        if self._calls[driver] >= MAX_STOPS:
            log.error("driver %s was told to stop %d times and has not answered; it is halted", name, MAX_STOPS)
            halt(name, driver)
            return False
        self._calls[driver] += 1
        task = asyncio.create_task(driver.stop(), name=f"edge.driver.{name}.stop")
        task.add_done_callback(lambda _: self._ended(driver))
        try:
            ended = await ended_within(task, self._clock, STOP_WITHIN)
        finally:
            self._let_go(task)
        if not ended:
            log.error("driver %s did not stop within %g s; it is halted", name, STOP_WITHIN)
        elif (problem := None if task.cancelled() else task.exception()) is not None:
            log.error("driver %s did not stop; it is halted", name, exc_info=problem)
        elif not task.cancelled():
            return True
        halt(name, driver)
        return False

    def _ended(self, driver: Driver) -> None:
        self._calls[driver] -= 1
        if not self._calls[driver]:
            del self._calls[driver]

    def _let_go(self, task: "asyncio.Task[None]") -> None:
        if not task.done():
            task.cancel()
            self._stuck.add(task)  # the event loop itself holds no task
            task.add_done_callback(self._stuck.discard)


def halt(name: str, driver: Driver) -> None:
    """Bring a driver to rest at once, in whichever thread."""
    try:
        driver.halt()
    except Exception:
        log.exception("driver %s did not halt", name)
