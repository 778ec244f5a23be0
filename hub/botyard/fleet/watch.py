"""Tells the hub when a robot's presence changes, and looks at the clock for those that have fallen silent."""

from collections.abc import Callable, Iterable
from typing import Any

from botyard.core.actor import HUB, Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.config import FleetConfig
from botyard.core.events import EventNoted, RobotChanged
from botyard.fleet.flapping import CHANGES, WINDOW, Settled
from botyard.fleet.record import RobotRecord
from botyard.store.base import EventRow
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Severity

# How often the clock is looked at: seconds.
TICK = 1.0


class Notes:
    """Writes events about robots into the store, by way of the bus."""

    def __init__(self, bus: Bus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock

    def write(
        self,
        robot: str | None,
        actor: Actor,
        name: str,
        message: str,
        severity: Severity = "info",
        data: dict[str, Any] | None = None,
    ) -> None:
        """Note that something happened to a robot, and who did it."""
        row = EventRow(
            ts=self._clock.now(),
            robot=robot,
            actor=str(actor),
            name=name,
            severity=severity,
            message=message,
            data=data or {},
        )
        self._bus.publish(EventNoted(actor=actor, event=row))


class PresenceWatch:
    """Says what changed, in an event and on the bus; of a robot that flaps it says less, see `flapping`."""

    def __init__(self, config: FleetConfig, bus: Bus, clock: Clock, notes: Notes) -> None:
        self._offline_after = config.offline_after
        self._bus = bus
        self._clock = clock
        self._notes = notes

    async def run(self, robots: Callable[[], Iterable[RobotRecord]]) -> None:
        """Look at the clock, for ever. `robots` gives them, in any order."""
        while True:
            await self._clock.sleep(TICK)
            now = self._clock.monotonic()
            for record in robots():
                if record.flapping.active or record.presence.overdue(now):  # hardly ever, of thousands
                    self.look(record)

    def changed(self, record: RobotRecord, before: str) -> bool:
        """The robot's presence has just changed; says whether others should hear of it at once."""
        if before == "unknown":
            return True  # the hub has just started; it is news to the hub only
        flapping = record.flapping
        if flapping.on_change(self._clock.monotonic()):
            self._notes.write(
                record.row.id,
                HUB,
                "robot.flapping",
                f"is flapping: its presence changed {CHANGES} times within {WINDOW:g} s; until it settles, further "
                "changes are only counted",
                "warning",
                {"changes": CHANGES, "window": WINDOW},
            )
            return True
        if flapping.active:
            return False
        self._say(record)
        return True

    def look(self, record: RobotRecord) -> None:
        """Time has passed."""
        now, before = self._clock.monotonic(), record.presence.status
        news = record.presence.on_time(self._clock.now(), now, self._offline_after) and self.changed(record, before)
        if settled := record.flapping.on_time(now):
            self._say_settled(record, settled)
            news = True
        if news or record.flapping.untold:
            record.flapping.untold = False
            self._bus.publish(RobotChanged(actor=HUB, robot=record.row.id))

    def _say(self, record: RobotRecord) -> None:
        presence = record.presence
        actor = HUB if presence.reason == "silence" else robot_actor(record.row.id)
        message = f"is {presence.status} ({presence.reason})"
        self._notes.write(record.row.id, actor, f"robot.{presence.status}", message, _severity(record))

    def _say_settled(self, record: RobotRecord, settled: Settled) -> None:
        presence = record.presence
        self._notes.write(
            record.row.id,
            HUB,
            "robot.settled",
            f"is {presence.status} ({presence.reason}) and has settled after {settled.changes} changes of presence in "
            f"{settled.seconds:.0f} s",
            _severity(record),
            {"status": presence.status, "changes": settled.changes, "seconds": round(settled.seconds, 3)},
        )


def _severity(record: RobotRecord) -> Severity:
    return "info" if record.presence.status == "online" or record.presence.reason == "stopped" else "warning"
