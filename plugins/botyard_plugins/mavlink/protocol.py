"""The command protocol: https://mavlink.io/en/services/command.html.

A command is sent again with a growing `confirmation` (COMMAND_LONG; COMMAND_INT has none) until its COMMAND_ACK comes.
Since an acknowledgement names nothing but the command, only one of each is under way at a time.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from botyard_plugins.mavlink.link import Link, SilentError

# Seconds after which a command that was said to be at work has to be heard of again.
WORKS_WITHIN = 30.0
UNKNOWN_PROGRESS = 255

_MEANINGS = {
    1: "not now",
    2: "the vehicle refuses",
    3: "the vehicle does not know this command",
    4: "the vehicle failed at it",
    6: "it was cancelled",
    7: "the vehicle wants it as COMMAND_LONG",
    8: "the vehicle wants it as COMMAND_INT",
    9: "the vehicle does not know the frame of its position",
}
TEMPORARILY_REJECTED, DENIED, UNSUPPORTED, FAILED, CANCELLED = 1, 2, 3, 4, 6

Progress = Callable[[float], Awaitable[None]]


class AnsweredError(Exception):
    """The vehicle's answer is no: `result` is its MAV_RESULT."""

    def __init__(self, name: str, result: int) -> None:
        super().__init__(f"{name}: {_MEANINGS.get(result, 'an answer that is not known')} (MAV_RESULT {result})")
        self.result = result


class Commands:
    """Sends commands and waits for their answers: so many seconds each time, and so many times."""

    def __init__(self, link: Link, timeout: float, attempts: int) -> None:
        self._link = link
        self._timeout = timeout
        self._attempts = attempts
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def long(self, command: int, *params: float, progress: Progress | None = None) -> None:
        """COMMAND_LONG; parameters that are left out are 0. Raises AnsweredError, SilentError, GoneError."""
        seven = [*params, *[0.0] * (7 - len(params))]
        target = self._link.target
        await self._ask(
            command,
            lambda attempt: self._link.dialect.MAVLink_command_long_message(*target, command, attempt, *seven),
            progress,
        )

    async def at(self, command: int, frame: int, lat: float, lon: float, alt: float, *params: float) -> None:
        """COMMAND_INT: degrees and metres in `frame`; parameters 1 to 4 that are left out are NaN, "as it is".

        Raises AnsweredError, SilentError, GoneError.
        """
        four = [*params, *[math.nan] * (4 - len(params))]
        x, y = round(lat * 1e7), round(lon * 1e7)
        target = self._link.target
        message = self._link.dialect.MAVLink_command_int_message(*target, frame, command, 0, 0, *four, x, y, alt)
        await self._ask(command, lambda _: message, None)

    async def _ask(self, command: int, make: Callable[[int], Any], progress: Progress | None) -> None:
        name = self._link.dialect.enums["MAV_CMD"][command].name
        async with self._locks[command]:
            with self._link.listen("COMMAND_ACK") as box:
                for attempt in range(self._attempts):
                    self._link.send(make(min(attempt, 255)))
                    result = await self._answer(name, command, box, progress)
                    if result == self._link.dialect.MAV_RESULT_ACCEPTED:
                        return
                    if result is not None:
                        raise AnsweredError(name, result)
        raise SilentError(f"{name}: the vehicle did not answer, though it was asked {self._attempts} times")

    async def _answer(self, name: str, command: int, box: Any, progress: Progress | None) -> int | None:
        """The result that ends the command; None: nothing came."""
        clock = self._link.clock
        end, works = clock.monotonic() + self._timeout, False
        while (left := end - clock.monotonic()) > 0:
            ack = await box.next(left)
            if ack is None or ack.command != command or not self._for_us(ack):
                continue
            if ack.result != self._link.dialect.MAV_RESULT_IN_PROGRESS:
                return int(ack.result)
            end, works = clock.monotonic() + WORKS_WITHIN, True
            if progress is not None and ack.progress != UNKNOWN_PROGRESS:
                await progress(min(ack.progress, 100) / 100)
        if works:
            raise SilentError(f"{name}: the vehicle said that it was at work, and then nothing for {WORKS_WITHIN:g} s")
        return None

    def _for_us(self, ack: Any) -> bool:
        """Older autopilots do not say for whom an answer is."""
        return ack.target_system in (0, self._link.own[0]) and ack.target_component in (0, self._link.own[1])
