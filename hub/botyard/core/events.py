"""Everything that happens inside the hub and that a part may listen to. Subscribe by class at the `Bus`."""

import asyncio
from dataclasses import dataclass, field

from botyard.core.actor import Actor
from botyard.core.samples import Column, columns_of
from botyard.store.base import EventRow, ReportRow, StoredEvent
from botyard_schemas.messages import Telemetry


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
    """A robot is about to be removed, and nothing more of it is taken in. Whoever holds something of it that is on its
    way to the store adds to `settled` what is to be waited for."""

    robot: str
    settled: list[asyncio.Future[None]] = field(default_factory=list)


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
        return columns_of(self.robot, self.ts, self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventNoted(HubEvent):
    """Something happened that belongs into the store's events; `EventCommitted` follows once it is there."""

    event: EventRow


@dataclass(frozen=True, slots=True, kw_only=True)
class EventCommitted(HubEvent):
    """An event, of a robot or of the hub, is in the store now."""

    event: StoredEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportCommitted(HubEvent):
    """A robot's report on a command or mission step is in the store now."""

    report: ReportRow


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportChanged(HubEvent):
    """A transport was connected or lost its connection; `error` says why."""

    transport: str
    connected: bool
    error: str | None = None
