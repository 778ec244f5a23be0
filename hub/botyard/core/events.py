"""Everything that happens inside the hub and that a part may listen to. Subscribe by class at the `Bus`."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from botyard.core.actor import Actor
from botyard.store.base import EventRow, StoredEvent
from botyard_schemas.messages import Telemetry, ValueType


class Column(NamedTuple):
    """Samples of one channel; `ts` (µs since 1970) and `values` have the same length, and no value is None."""

    robot: str
    channel: str
    type: ValueType
    unit: str | None
    ts: list[int]
    values: list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubEvent:
    """Base of all events; `actor` caused it."""

    actor: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotChanged(HubEvent):
    """Something that the API says of a robot is different now: its description, presence or state. Also: it is new."""

    robot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotLeaving(HubEvent):
    """A robot is about to be removed: what it sent and is not committed yet need not be stored any more."""

    robot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotRemoved(HubEvent):
    """A robot and everything that it sent was removed."""

    robot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotRetired(HubEvent):
    """A robot left the fleet: what it sent stays, and nothing more of it is taken in."""

    robot: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotSeen(HubEvent):
    """A robot gave a sign of life. It is no change: nothing else about it is different."""

    robot: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplesReceived(HubEvent):
    """New samples of a robot came in. They are on their way to the store, and not yet committed."""

    robot: str
    ts: int
    body: Telemetry

    def columns(self) -> list[Column]:
        """The samples by channel, with absolute times and without the gaps. Made when they are asked for."""
        columns = []
        for group in self.body.groups:
            times = [self.ts + dt for dt in group.dt]
            for channel in group.channels:
                ts, values = times, channel.values
                if None in values:
                    kept = [(t, value) for t, value in zip(times, values, strict=True) if value is not None]
                    ts, values = [t for t, _ in kept], [value for _, value in kept]
                if values:
                    columns.append(Column(self.robot, channel.name, channel.type, channel.unit, ts, values))
        return columns


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNoted(HubEvent):
    """Something happened that belongs into the store's events; `EventCommitted` follows once it is there."""

    event: EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCommitted(HubEvent):
    """An event, of a robot or of the hub, is in the store now."""

    event: StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportChanged(HubEvent):
    """A transport was connected or lost its connection; `error` says why."""

    transport: str
    connected: bool
    error: str | None = None
