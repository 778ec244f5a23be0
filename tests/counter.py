"""A driver that counts, so that whoever reads can tell what is missing and what is there twice."""

from collections.abc import Iterable

from botyard_edge.driver import Capabilities, Channel, Driver, DriverSpec, Port
from botyard_edge.hookspecs import hookimpl

PERIOD = 0.02


class Counter(Driver):
    """Publishes 0, 1, 2, … on the channel `count`."""

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities((Channel("count", "integer", "1", 1 / PERIOD),))

    async def run(self, port: Port) -> None:
        number = 0
        while True:
            await port.publish({"count": number})
            number += 1
            await self.context.clock.sleep(PERIOD)


@hookimpl
def botyard_edge_drivers() -> Iterable[DriverSpec]:
    options = {"type": "object", "additionalProperties": False, "properties": {}}
    return [DriverSpec("counter", "Counts, for tests.", Counter, options)]
