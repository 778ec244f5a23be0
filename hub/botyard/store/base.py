"""What the rest of the hub may ask of a store, whatever database is behind it.

Two kinds of writing: `commit` takes everything that came from robots, in one transaction per batch; the small changes
that people make (robots' names and groups) have methods of their own. Times are microseconds since 1970 in hub time.
"""

from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import msgspec

from botyard.store.holdings import ClassName, Expired, Holdings, Size
from botyard_schemas.messages import ReportStatus, Severity, ValueType

T = TypeVar("T")
CommandStatus = Literal["queued", "sent"] | ReportStatus


class StoreError(Exception):
    """The store could not do it; the sentence says what and why. A batch that raised it was not committed at all."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """What the store holds of one epoch of a robot: everything up to `seq`, and `beyond` it these closed ranges."""

    robot: str
    epoch: str
    seq: int
    beyond: tuple[tuple[int, int], ...] = ()


class Block(msgspec.Struct, frozen=True):
    """Telemetry of robots of one shard (`hot.shard_of`): `data` is a JSON array of envelopes that keep the contract.

    `start` and `end` are the times of its earliest and latest sample, `messages` how many there are.
    """

    shard: int
    start: int
    end: int
    messages: int
    data: bytes


class EventRow(msgspec.Struct, frozen=True, kw_only=True):
    """An event to keep. `epoch` and `seq` say which message it came in, when a robot sent it."""

    ts: int
    robot: str | None
    actor: str
    name: str
    severity: Severity
    message: str | None = None
    data: dict[str, Any] = {}
    cause: str | None = None
    epoch: str | None = None
    seq: int | None = None


class StoredEvent(EventRow, frozen=True, kw_only=True):
    """An event with the id that the store gave it; ids only grow."""

    id: int


class ReportRow(msgspec.Struct, frozen=True, kw_only=True):
    """A report on a command or mission step. `body` is the message's body as JSON."""

    ts: int
    robot: str
    command: str
    status: str
    body: bytes
    epoch: str
    seq: int


class CommandRow(msgspec.Struct, frozen=True, kw_only=True):
    """A command and how far it has come. `sent` is when it was sent last, `answered` when the robot reported on it
    first, `changed` when its status changed; `late`: the hub had given it up before the robot answered."""

    id: str
    robot: str
    name: str
    args: dict[str, Any]
    created: int
    expires: int
    actor: str
    status: CommandStatus
    changed: int
    reason: str | None = None
    progress: float | None = None
    sent: int | None = None
    answered: int | None = None
    late: bool = False


class StateRow(msgspec.Struct, frozen=True, kw_only=True):
    """The latest state of a robot; `body` is the message's body as JSON. What is committed last is kept, whatever its
    time: which state is the latest is for the fleet to say, since clocks may be wrong."""

    robot: str
    ts: int
    body: bytes


class QuarantineRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was refused; `payload` is its beginning as text, `size` its whole length in bytes."""

    received: int
    robot: str | None
    topic: str | None
    reason: str
    detail: str
    size: int
    payload: str


class StoredQuarantine(QuarantineRow, frozen=True, kw_only=True):
    """A refused message with the id that the store gave it; ids only grow."""

    id: int


class Batch(msgspec.Struct, kw_only=True):
    """What one transaction commits."""

    blocks: list[Block] = []
    events: list[EventRow] = []
    reports: list[ReportRow] = []
    states: list[StateRow] = []
    quarantine: list[QuarantineRow] = []
    positions: list[Position] = []


class Committed(msgspec.Struct, frozen=True):
    """The ids that the events of a batch got, in their order."""

    event_ids: list[int]


class RobotRow(msgspec.Struct, frozen=True, kw_only=True):
    """A robot as people describe it, and whether it may take part. `retired` is when it left the fleet, if it has."""

    id: str
    created: int
    name: str
    type: str
    group: str | None = None
    tags: tuple[str, ...] = ()
    notes: str = ""
    accepted: bool = True
    retired: int | None = None


class ChannelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that a robot has sent."""

    robot: str
    channel: str
    type: ValueType
    unit: str | None


class Sample(msgspec.Struct, frozen=True):
    """One sample."""

    robot: str
    channel: str
    ts: int
    value: Any


class BucketRow(msgspec.Struct, frozen=True):
    """Aggregate of the samples with `ts` <= time < `ts` + width; only buckets that have samples."""

    ts: int
    count: int
    min: float
    max: float
    mean: float
    last: float


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a listing; `next` is the opaque cursor that continues it, None at the end."""

    items: list[T]
    next: str | None = None


class InvalidCursorError(ValueError):
    """The cursor did not come from this listing."""


class Store(Protocol):
    """One database. Open while its `async with` lasts: schema created or upgraded on entry, never destructively."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

    async def ping(self) -> None:
        """Answer, or raise StoreError."""

    async def commit(self, batch: Batch) -> Committed:
        """Write the batch in one transaction and return when it is durable.

        Raises StoreError when nothing of it was written. As long as that cannot be said, it waits. Several commits may
        be in flight; they are done in the order of the calls.
        """

    # what robots sent
    async def positions(self) -> list[Position]: ...
    async def states(self) -> list[StateRow]: ...
    async def channels(self, robot: str) -> list[ChannelRow]: ...
    async def samples(
        self,
        *,
        robots: list[str] | None = None,
        channels: list[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Page[Sample]:
        """Samples with `start` <= ts < `end`, in the order of time, robot and channel. Raises InvalidCursorError.

        Several of one channel at the same time come in the order of their arrival, as long as no compaction has merged
        what some of them are in.
        """

    async def counts(self) -> dict[tuple[str, str], int]:
        """How many samples there are, by robot and channel. Looks at all of them."""

    async def latest(self, robot: str, channels: list[str] | None = None) -> list[Sample]:
        """The latest sample of each channel of a robot."""

    async def aggregate(self, robot: str, channel: str, *, start: int, end: int, bucket: int) -> list[BucketRow]:
        """Numeric samples in buckets of `bucket` microseconds, aligned to multiples of it since 1970.

        Multiples of a minute are read from rollups, which outlive the samples; others, from the samples.
        """

    async def events(
        self,
        *,
        robot: str | None = None,
        severities: list[str] | None = None,
        name: str | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[StoredEvent]:
        """Events, newest first. `name` matches itself and everything below it (`docking` finds `docking.failed`)."""

    async def quarantined(
        self, *, robot: str | None = None, reason: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[StoredQuarantine]:
        """Refused messages, newest first."""

    async def compact(self) -> None:
        """Bring all telemetry into its final form now, which happens by itself some minutes after it came."""

    # how much there is, and what goes
    async def holdings(self) -> Holdings:
        """How large it is, and what it holds. Takes milliseconds, however much that is."""

    async def expire(self, name: ClassName, before: int | None, most: int | None) -> Expired:
        """Delete, oldest first, what ended before a time (µs), and what is beyond `most` bytes; None: no limit.

        Takes some 20 ms, so that commits never wait long; `more` says that there is more to delete. Only what is
        compacted goes.
        """

    async def give_back(self) -> bool:
        """Give the room of what was deleted back to the file system for some 20 ms; whether there is more of it."""

    async def note_size(self, size: Size, oldest: int) -> None:
        """Remember how large the database was, and forget what was noted before the time `oldest`."""

    # what people say
    async def robots(self) -> list[RobotRow]: ...
    async def add_robot(self, robot: RobotRow) -> None:
        """Raises KeyError when the id is taken."""

    async def change_robot(self, robot: RobotRow) -> None:
        """Replace the row with the same id. Raises KeyError when there is none."""

    async def remove_robot(self, robot_id: str) -> None:
        """Forget the robot and everything that it sent, but not which messages were seen. Raises KeyError.

        Events about it that it did not send (without `epoch`) stay: they say who did what to it.
        """

    async def add_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        """Add it, together with the event that tells of it. Of those of this robot that have ended, only the latest
        ones stay. Raises KeyError when the id is taken, or there is no such robot."""

    async def change_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        """Replace the row with the same id, together with the event that tells of it. Raises KeyError when there is
        none."""

    async def command(self, command_id: str) -> CommandRow | None: ...
    async def commands(self, robot: str, *, limit: int = 100, cursor: str | None = None) -> Page[CommandRow]:
        """The robot's commands, newest first. Raises InvalidCursorError."""

    async def open_commands(self, robot: str | None = None) -> list[CommandRow]:
        """All that have not ended, of one robot or of all, and those that ended otherwise than a report on them says
        that came later."""

    async def reports(self, command_id: str, limit: int = 1000) -> list[ReportRow]:
        """The latest reports on a command, in the order of their commits."""
