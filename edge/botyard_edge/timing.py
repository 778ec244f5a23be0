"""Waiting for an event or for a clock, whichever comes first."""

import asyncio
import contextlib

from botyard_schemas.clock import Clock, loop_seconds

# A wait takes at least this, in seconds: whoever waits for what rounding has left of a time must not spin.
GRAIN = 1e-6


async def wait_event(event: asyncio.Event, clock: Clock, seconds: float) -> bool:
    """Wait until the event is set, at most `seconds` of the clock's time. Returns whether it is set."""
    if event.is_set() or seconds <= 0:
        return event.is_set()
    if (own := loop_seconds(clock, seconds)) is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(own, GRAIN)):
                await event.wait()
        return event.is_set()
    waiters = (
        asyncio.create_task(event.wait(), name="edge.wait.event"),
        asyncio.create_task(clock.sleep(seconds), name="edge.wait.clock"),
    )
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)
    return event.is_set()


async def wait_until(event: asyncio.Event, clock: Clock, moment: float) -> bool:
    """As `wait_event`, until a moment of the clock's `monotonic()`."""
    return await wait_event(event, clock, moment - clock.monotonic())
