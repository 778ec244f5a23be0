"""What a clock is. Both sides get theirs passed in, so that tests and simulations can run on virtual time."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock, steady clock and sleep, from one source.

    One that goes by the event loop's time may say so by a method `loop_seconds(seconds: float) -> float | None`: how
    long that takes in the loop's own time, None: it cannot be said. To wait for something then takes a timer of the
    loop, and no task of its own.
    """

    def now(self) -> int:
        """Microseconds since 1970-01-01T00:00:00Z."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` of this clock's time."""


class SystemClock:
    """The clocks of the operating system."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def loop_seconds(self, seconds: float) -> float | None:
        """See `Clock`."""
        return seconds


def loop_seconds(clock: Clock, seconds: float) -> float | None:
    """How long so many seconds of the clock are in the event loop's time; None: it does not go by that."""
    ask = getattr(clock, "loop_seconds", None)
    found: float | None = None if ask is None else ask(seconds)
    return found
