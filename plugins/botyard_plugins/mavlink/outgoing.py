"""What was heard of the vehicle, on its way to the runtime."""

import asyncio
from collections import deque
from typing import Any, NamedTuple

from botyard_edge.driver import Port, StateChange
from botyard_plugins.mavlink.texts import Said

MAX_WAITING = 1024  # of more, the oldest go


class Heard(NamedTuple):
    """What followed of a message, to be published."""

    ts: int
    values: dict[str, Any]
    state: StateChange
    said: Said | None
    reached: int | None


class Outgoing:
    """Takes in without waiting, so that whoever reads the vehicle is never held up."""

    def __init__(self) -> None:
        self._waiting: deque[Heard] = deque(maxlen=MAX_WAITING)
        self._some = asyncio.Event()

    def put(self, heard: Heard) -> None:
        """To be published."""
        self._waiting.append(heard)
        self._some.set()

    async def run(self, port: Port) -> None:
        """Publish what comes, for ever."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._waiting:
                heard = self._waiting.popleft()
                if heard.values:
                    await port.publish(heard.values, ts=heard.ts)
                if heard.state:
                    port.update_state(**heard.state)
                if heard.said is not None and heard.said.told:
                    data = {"skipped": heard.said.skipped} if heard.said.skipped else {}
                    await port.event("mavlink.text", heard.said.severity, heard.said.text, data=data, ts=heard.ts)
                if heard.reached is not None:
                    message = f"item {heard.reached} of the mission is reached"
                    await port.event("mission.reached", "info", message, data={"item": heard.reached}, ts=heard.ts)
