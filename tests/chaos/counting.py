"""A driver for the campaign: it counts, so that whoever reads can tell what is missing and what is there twice.

It tells its journal what it is about to hand over, and goes on counting where its last life was killed.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from botyard_edge.driver import Capabilities, Channel, Driver, DriverContext, DriverSpec, Port
from botyard_edge.hookspecs import hookimpl
from tests.chaos.control import Control

# Environment of a robot: the file descriptor of its journal, its control file, and where to go on counting.
JOURNAL, CONTROL, NEXT = "CHAOS_JOURNAL", "CHAOS_CONTROL", "CHAOS_NEXT"

CHANNEL, MARK = "count", "count.mark"
PERIOD = 0.1
MARK_EVERY = 10


def note(line: str) -> None:
    """Write a line to the journal."""
    os.write(int(os.environ[JOURNAL]), f"{line}\n".encode("ascii"))


class CountingDriver(Driver):
    """Publishes 0, 1, 2, … in batches of `size` every `PERIOD`, and an event with every tenth batch."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._size = int(context.options["size"])
        self._control = Control(Path(os.environ[CONTROL]))
        self._number, self._mark = (int(word) for word in os.environ[NEXT].split())

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities((Channel(CHANNEL, "integer", "1", self._size / PERIOD),))

    async def run(self, port: Port) -> None:
        clock = self.context.clock
        began = clock.monotonic()
        batches = 0
        while not self._control.ending:
            if batches % MARK_EVERY == 0:
                note(f"M {self._mark}")
                await port.event(MARK, data={"n": self._mark})
                self._mark += 1
            numbers = range(self._number, self._number + self._size)
            now = clock.now()
            times = [now + index for index in range(-self._size + 1, 1)]
            note(f"D {numbers[0]} {numbers[-1]}")
            await port.publish_columns(times, {CHANNEL: list(numbers)})
            self._number += self._size
            batches += 1
            # Should the runtime start this driver again, it goes on from here.
            os.environ[NEXT] = f"{self._number} {self._mark}"
            await clock.sleep(max(0.0, began + batches * PERIOD - clock.monotonic()))
        note("E")


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    size = {"type": "integer", "minimum": 1, "default": 1}
    options = {"type": "object", "additionalProperties": False, "properties": {"size": size}}
    return [DriverSpec("counting", "Counts, for tests.", CountingDriver, options)]
