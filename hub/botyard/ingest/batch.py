"""Messages that wait to be committed together."""

import asyncio

import msgspec

from botyard.ingest.tracker import Tracker
from botyard.store.base import Batch, Column, EventRow, QuarantineRow, ReportRow, StateRow
from botyard_schemas.messages import Envelope, Event, Report, Telemetry

_encode = msgspec.json.encode

# What a message costs in the budget of a batch beside its samples: a bit for itself, and one for so many bytes.
MESSAGE_COST = 4
BYTES_PER_COST = 50


class OpenBatch:
    """Collects until it is closed. `done` is set with the outcome when it is committed."""

    def __init__(self) -> None:
        self.rows = Batch(columns=[], events=[], reports=[], states=[], quarantine=[], positions=[])
        self.cost = 0
        self.messages = 0
        self.touched: dict[tuple[str, str], str] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def empty(self) -> bool:
        return self.cost == 0

    def add(self, envelope: Envelope, transport: str, size: int) -> list[Column]:
        """Take a message of `size` bytes in; gives the columns of its samples."""
        self.touch(envelope.robot, envelope.epoch, transport)
        self.messages += 1
        self.cost += size // BYTES_PER_COST
        body = envelope.body
        columns: list[Column] = []
        match body:
            case Telemetry():
                columns = columns_of(envelope, body)
                self.rows.columns += columns
                self.cost += sum(len(column.ts) for column in columns)
            case Event():
                self.rows.events.append(_event_row(envelope, body))
            case Report():
                self.rows.reports.append(_report_row(envelope, body))
        return columns

    def keep_state(self, envelope: Envelope) -> None:
        """The message's state is the robot's latest."""
        self.rows.states.append(StateRow(robot=envelope.robot, ts=envelope.ts, body=_encode(envelope.body)))

    def touch(self, robot: str, epoch: str, transport: str) -> None:
        """The robot wants to hear how far this epoch is committed, over this transport."""
        self.touched[robot, epoch] = transport
        self.cost += MESSAGE_COST

    def record(self, event: EventRow) -> None:
        """Take in an event of the hub itself."""
        self.rows.events.append(event)
        self.cost += MESSAGE_COST

    def quarantine(self, row: QuarantineRow) -> None:
        """Take in a refused message."""
        self.rows.quarantine.append(row)
        self.cost += MESSAGE_COST + len(row.payload) // BYTES_PER_COST

    def drop(self, robot: str) -> None:
        """Do not store what this robot sent. That it was seen is still noted."""
        rows = self.rows
        rows.columns = [row for row in rows.columns if row.robot != robot]
        rows.events = [row for row in rows.events if row.robot != robot or row.epoch is None]
        rows.reports = [row for row in rows.reports if row.robot != robot]
        rows.states = [row for row in rows.states if row.robot != robot]
        rows.quarantine = [row for row in rows.quarantine if row.robot != robot]

    def close(self, tracker: Tracker) -> Batch:
        """What to commit: the rows and how far each epoch has come with them."""
        self.rows.positions = [tracker.position(robot, epoch) for robot, epoch in self.touched]
        for robot, _ in self.touched:
            tracker.trim(robot)
        return self.rows


def columns_of(envelope: Envelope, body: Telemetry) -> list[Column]:
    """The samples of a batch by channel, with absolute times and without the gaps."""
    columns = []
    for group in body.groups:
        times = [envelope.ts + dt for dt in group.dt]
        for channel in group.channels:
            ts, values = times, channel.values
            if None in values:
                kept = [(t, value) for t, value in zip(times, values, strict=True) if value is not None]
                ts, values = [t for t, _ in kept], [value for _, value in kept]
            if values:
                columns.append(Column(envelope.robot, channel.name, channel.type, channel.unit, ts, values))
    return columns


def _event_row(envelope: Envelope, body: Event) -> EventRow:
    return EventRow(
        ts=envelope.ts + body.dt,
        robot=envelope.robot,
        actor=f"robot:{envelope.robot}",
        name=body.name,
        severity=body.severity,
        message=body.message,
        data=body.data,
        cause=body.cause,
        epoch=envelope.epoch,
        seq=envelope.seq,
    )


def _report_row(envelope: Envelope, body: Report) -> ReportRow:
    return ReportRow(
        ts=envelope.ts,
        robot=envelope.robot,
        command=body.command,
        status=body.status,
        body=_encode(body),
        epoch=envelope.epoch,
        seq=envelope.seq,
    )
