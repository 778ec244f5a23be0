"""Messages that wait to be committed together."""

import asyncio

import msgspec

from botyard.ingest.tracker import Tracker
from botyard.store.base import Batch, Block, EventRow, QuarantineRow, ReportRow, StateRow
from botyard.store.frames import HIGHEST, LOWEST
from botyard.store.hot import shard_of
from botyard_schemas.messages import Envelope, Event, Report, Telemetry

_encode = msgspec.json.encode

# What a message costs in the budget of a batch beside its samples: a bit for itself, and one for so many bytes.
MESSAGE_COST = 4
BYTES_PER_COST = 50


class ShardBlock:
    """Telemetry of one shard that waits."""

    __slots__ = ("end", "payloads", "start")

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.start, self.end = HIGHEST, LOWEST


class OpenBatch:
    """Collects until it is closed. `done` is set with the outcome when it is committed."""

    def __init__(self) -> None:
        self.rows = Batch(blocks=[], events=[], reports=[], states=[], quarantine=[], positions=[])
        self.cost = 0
        self.messages = 0
        self.touched: dict[tuple[str, str], str] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._shards: dict[int, ShardBlock] = {}

    @property
    def empty(self) -> bool:
        return self.cost == 0

    def add(self, envelope: Envelope, transport: str, payload: bytes) -> int:
        """Take a message in. `payload` is the envelope as it keeps the contract. Gives the number of its samples."""
        self.touch((envelope.robot, envelope.epoch), transport)
        body = envelope.body
        if isinstance(body, Telemetry):
            samples = sum(len(c.values) - c.values.count(None) for group in body.groups for c in group.channels)
            self.keep(shard_of(envelope.robot), payload, envelope.ts, body, samples)
            return samples
        self.messages += 1
        self.cost += len(payload) // BYTES_PER_COST
        match body:
            case Event():
                self.rows.events.append(_event_row(envelope, body))
            case Report():
                self.rows.reports.append(_report_row(envelope, body))
        return 0

    def keep(self, shard: int, payload: bytes, ts: int, body: Telemetry, samples: int) -> None:
        """Put telemetry into its shard's block."""
        self.messages += 1
        self.cost += len(payload) // BYTES_PER_COST + samples
        block = self._shards.get(shard)
        if block is None:
            block = self._shards[shard] = ShardBlock()
        block.payloads.append(payload)
        for group in body.groups:
            times = group.dt
            first = last = ts + times[0]
            if len(times) > 1:
                first, last = ts + min(times), ts + max(times)
            if first < block.start:
                block.start = first
            if last > block.end:
                block.end = last

    def keep_state(self, envelope: Envelope) -> None:
        """The message's state is the robot's latest."""
        self.rows.states.append(StateRow(robot=envelope.robot, ts=envelope.ts, body=_encode(envelope.body)))

    def touch(self, key: tuple[str, str], transport: str) -> None:
        """This robot wants to hear how far this epoch of its is committed, over this transport."""
        self.touched[key] = transport
        self.cost += MESSAGE_COST

    def record(self, event: EventRow) -> None:
        """Take in an event of the hub itself."""
        self.rows.events.append(event)
        self.cost += MESSAGE_COST

    def quarantine(self, row: QuarantineRow) -> None:
        """Take in a refused message."""
        self.rows.quarantine.append(row)
        self.cost += MESSAGE_COST + len(row.payload) // BYTES_PER_COST

    def close(self, tracker: Tracker) -> Batch:
        """What to commit: the rows and how far each epoch has come with them."""
        self.rows.blocks = [
            _block(shard, block.start, block.end, block.payloads)
            for shard, block in self._shards.items()
            if block.payloads
        ]
        self._shards.clear()
        self.rows.positions = tracker.settled(self.touched)
        return self.rows


def _block(shard: int, start: int, end: int, payloads: list[bytes]) -> Block:
    """The messages as one JSON array, which takes the list apart: a megabyte is not copied three times."""
    payloads[0] = b"[" + payloads[0]
    payloads[-1] += b"]"
    return Block(shard, start, end, len(payloads), b",".join(payloads))


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
