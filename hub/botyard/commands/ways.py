"""The ways to robots: which transport a robot is on, and what may go wrong there."""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable

from botyard.fleet.fleet import Fleet
from botyard.plugin.api import Transport
from botyard_schemas import Envelope

log = logging.getLogger(__name__)

# What one message may wait for its transport: seconds. And how many do so at once when it does not work.
SEND_WITHIN = 5.0
SENT_WHEN_FAILING = 8


class Ways:
    """Knows the transports."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._transports: dict[str, Transport] = {}
        self._sending: Counter[str] = Counter()  # by transport
        self._failing: set[str] = set()

    def attach(self, transports: Iterable[Transport]) -> None:
        """Name the transports over which commands go."""
        self._transports = {transport.name: transport for transport in transports}

    def to(self, robot: str) -> Transport | None:
        """The transport that the robot is on now, if it is there and takes part."""
        record = self._fleet.active(robot)
        if record is None or not record.row.accepted or record.presence.status != "online":
            return None
        return None if self._fleet.leaving(robot) else self._transports.get(record.transport or "")

    async def send(self, transport: Transport, message: Envelope, within: float, *, urgent: bool) -> bool | None:
        """Whether the message was handed over; None when that cannot be told. Takes at most `within` seconds.

        A transport that is a plugin may do anything: what goes wrong is said once until it works again, and until then
        only a few messages wait for it at the same time, apart from urgent ones.
        """
        name = transport.name
        if name in self._failing and self._sending[name] >= SENT_WHEN_FAILING and not urgent:
            return False
        self._sending[name] += 1
        try:
            async with asyncio.timeout(min(within, SEND_WITHIN)):
                sent = await transport.send(message)
        except Exception:
            if name not in self._failing:
                log.exception("transport %s cannot send a command to robot %s", name, message.robot)
            self._failing.add(name)
            return None
        finally:
            self._sending[name] -= 1
        self._failing.discard(name)
        return sent
