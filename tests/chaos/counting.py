"""A driver for the campaign: it counts, so that whoever reads can tell what is missing and what is there twice."""

import time
from collections.abc import Iterable

from botyard_edge.driver import Capabilities, Channel, Driver, DriverContext, DriverSpec, Port
from botyard_edge.hookspecs import hookimpl

RATE = 50
MARK_EVERY = 25


class CountingDriver(Driver):
    """Publishes 0, 1, 2, … on a channel that is new with each life of the driver, and an event for each 25."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._life = f"{time.time_ns():x}"

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities((Channel(f"count.{self._life}", "integer", "1", RATE),))

    async def run(self, port: Port) -> None:
        clock = self.context.clock
        began = clock.monotonic()
        number = 0
        while True:
            await port.publish({f"count.{self._life}": number})
            if number % MARK_EVERY == 0:
                await port.event("count.mark", data={"life": self._life, "n": number})
            number += 1
            await clock.sleep(max(0.0, began + number / RATE - clock.monotonic()))


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    options = {"type": "object", "additionalProperties": False, "properties": {}}
    return [DriverSpec("counting", "Counts, for tests.", CountingDriver, options)]
