"""What a clock is. Both sides get theirs passed in, so that tests and simulations can run on virtual time."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock, steady clock and sleep, from one source."""

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
