"""What the API says and takes: the classes from which OpenAPI and the dashboard's TypeScript types are made.

Times are microseconds since 1970 in hub time, as on the wire. `spec` is what people want of a robot, `status` is what
has been observed; no field is in both.
"""

from typing import Any, Literal

import msgspec

from botyard.fleet.sites import Site
from botyard.store.base import CommandStatus
from botyard.store.holdings import ClassName, Engine
from botyard_schemas.calibration import Axes, Linear, Motor, Polynomial, Profile, Wheels
from botyard_schemas.messages import CalibrationStatus, ReportStatus, State, ValueType

Registration = Literal["pending", "accepted", "retired"]
PresenceReason = Literal["connected", "message", "silence", "stopped", "last_will", "socket_closed", "retired"]
LogicalStatus = Literal["idle", "busy", "offline", "maintenance", "updating", "recovering", "error"]
PresenceStatus = Literal["online", "stale", "offline", "unknown"]
Severity = Literal["debug", "info", "warning", "error", "critical"]


class RobotSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What people say about a robot."""

    name: str
    type: str
    group: str | None = None
    tags: list[str] = []
    notes: str = ""


class PresenceView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a robot is connected, since when, and why it is said to be: it `connected`, a `message` came, its
    heartbeats stayed away (`silence`), it ended (`stopped`), the broker lost it (`last_will`), the hub lost its own
    connection to it (`socket_closed`), or it was `retired`. While it is `flapping`, `changes` counts the changes, which
    make no events."""

    status: PresenceStatus
    since: int | None = None
    reason: PresenceReason | None = None
    flapping: bool = False
    changes: int = 0


class ClockView(msgspec.Struct, frozen=True, kw_only=True):
    """What the robot said of its clock at `at`: hub time minus its own clock (`offset`), and the round trip of the
    exchange that this was measured with, in microseconds."""

    offset: int
    round_trip: int | None
    at: int


class SyncView(msgspec.Struct, frozen=True, kw_only=True):
    """What the robot said of its outbox at `at`: messages that wait for the hub (`behind`), and those that it had to
    give up since the outbox was made (`dropped`)."""

    behind: int
    dropped: int
    at: int


class RobotStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub has observed of a robot. `retired` is when it left the fleet."""

    registration: Registration
    logical: LogicalStatus
    presence: PresenceView
    retired: int | None = None
    last_seen: int | None = None
    clock: ClockView | None = None
    sync: SyncView | None = None
    state: State | None = None
    state_ts: int | None = None


class Robot(msgspec.Struct, frozen=True, kw_only=True):
    """One robot of the fleet."""

    id: str
    created: int
    spec: RobotSpec
    status: RobotStatus


class RobotCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A robot to register before it is first seen."""

    id: str
    name: str | None = None
    type: str | None = None
    group: str | None = None
    tags: list[str] = []
    notes: str = ""


class RobotPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields to change; absent fields stay as they are."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    type: str | msgspec.UnsetType = msgspec.UNSET
    group: str | msgspec.UnsetType | None = msgspec.UNSET
    tags: list[str] | msgspec.UnsetType = msgspec.UNSET
    notes: str | msgspec.UnsetType = msgspec.UNSET


class RobotPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of robots, by id; `next` is the cursor of the following page."""

    items: list[Robot]
    next: str | None = None


class CommandSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a robot is to do. It is to be begun before `expires`."""

    name: str
    args: dict[str, Any]
    expires: int


class CommandProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a command has come: `status` since `since`, and why. `sent` is when it was sent last, `answered` when the
    robot reported on it first. `late`: the robot answered after the hub had given the command up."""

    status: CommandStatus
    since: int
    reason: str | None = None
    progress: float | None = None
    sent: int | None = None
    answered: int | None = None
    late: bool = False


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a robot was asked to do; `actor` asked."""

    id: str
    robot: str
    created: int
    actor: str
    spec: CommandSpec
    status: CommandProgress


class ReportView(msgspec.Struct, frozen=True, kw_only=True):
    """What the robot said of a command at `ts`."""

    ts: int
    status: ReportStatus
    progress: float | None = None
    reason: str | None = None
    result: dict[str, Any] | None = None


class CommandDetail(Command, frozen=True, kw_only=True):
    """A command with the robot's reports on it, in the order of their arrival."""

    reports: list[ReportView]


class CommandPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of commands, newest first; `next` is the cursor of the following page."""

    items: list[Command]
    next: str | None = None


class CommandCreate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a robot is to do: `safety.stop` and `safety.safe`, which every robot understands, or what its drivers offer.
    It has to be begun within `expires_in` seconds, 1 to 604,800. With an `id` of yours, asking twice does nothing more.
    """

    name: str
    args: dict[str, Any] = {}
    expires_in: float = 60.0
    id: str | None = None


# For the dashboard: `tools.gen` makes its types of everything that is declared here.
CorrectionView = Linear | Polynomial | Axes | Motor | Wheels


class CalibrationProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A calibration profile of a robot: the `version` that it goes by and where that stands, as its state tells, null
    when the state does not name it; the versions that the hub knows, newest first, and the numbers of those that are
    `missing` here."""

    name: str
    version: int | None
    status: CalibrationStatus | None
    problem: str | None
    versions: list[Profile]
    missing: list[int]


class CalibrationView(msgspec.Struct, frozen=True, kw_only=True):
    """What a robot is calibrated by, by name, as of its state at `ts`; null when it was never calibrated. `hash` names
    all that is applied, and is equal on robots that are corrected alike."""

    robot: str
    hash: str | None
    ts: int | None
    profiles: list[CalibrationProfile]


class StateView(msgspec.Struct, frozen=True, kw_only=True):
    """The latest state of a robot and when it was made."""

    robot: str
    ts: int
    state: State


class ChannelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A channel that a robot has sent."""

    robot: str
    name: str
    type: ValueType
    unit: str | None = None


class ChannelList(msgspec.Struct, frozen=True, kw_only=True):
    """All channels of one robot, by name."""

    items: list[ChannelInfo]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One sample."""

    robot: str
    channel: str
    ts: int
    value: Any


class ReadingPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of samples in the order of time; `next` is the cursor of the following page."""

    items: list[Reading]
    next: str | None = None


class LatestReading(msgspec.Struct, frozen=True, kw_only=True):
    """The latest sample of a channel, with what the channel is."""

    robot: str
    channel: str
    type: ValueType
    unit: str | None
    ts: int
    value: Any


class LatestReadings(msgspec.Struct, frozen=True, kw_only=True):
    """The latest sample of each channel."""

    items: list[LatestReading]


class Bucket(msgspec.Struct, frozen=True, kw_only=True):
    """Aggregate of the samples with `ts` <= time < `ts` + bucket."""

    ts: int
    count: int
    min: float
    max: float
    mean: float
    last: float


class Aggregate(msgspec.Struct, frozen=True, kw_only=True):
    """Buckets of one channel, those without samples left out. `bucket` is the width in seconds."""

    robot: str
    channel: str
    unit: str | None
    bucket: float
    items: list[Bucket]


class SampleCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many samples of a channel the store holds."""

    robot: str
    channel: str
    count: int


class SampleCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The channels of which the store holds samples, by robot and name."""

    items: list[SampleCount]


class StreamPosition(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed of one life (`epoch`) of a robot's outbox: everything up to the number `seq`, and `beyond` it
    these closed ranges of numbers."""

    robot: str
    epoch: str
    seq: int
    beyond: list[tuple[int, int]] = []


class StreamPositions(msgspec.Struct, frozen=True, kw_only=True):
    """How far the hub has got with what robots number."""

    items: list[StreamPosition]


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, on a robot or in the hub. `actor` is who did it: `robot:<id>`, `user:<name>`, `hub`."""

    id: int
    ts: int
    robot: str | None
    actor: str
    name: str
    severity: Severity
    message: str | None = None
    data: dict[str, Any] = {}
    cause: str | None = None


class EventPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of events, newest first; `next` is the cursor of the following page."""

    items: list[EventView]
    next: str | None = None


class QuarantinedView(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was refused. `payload` is its beginning as text; `size` its full length in bytes."""

    id: int
    received: int
    robot: str | None
    topic: str | None
    reason: str
    detail: str
    size: int
    payload: str


class QuarantinePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of refused messages, newest first; `next` is the cursor of the following page."""

    items: list[QuarantinedView]
    next: str | None = None


class RawMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it came in, for people who look for a fault."""

    received: int
    topic: str
    size: int
    payload: str


class RawMessages(msgspec.Struct, frozen=True, kw_only=True):
    """The latest messages of one robot, newest first."""

    items: list[RawMessage]


class SiteList(msgspec.Struct, frozen=True, kw_only=True):
    """All sites, by id."""

    items: list[Site]


class BrokerView(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's connection to its broker."""

    connected: bool
    address: str
    embedded: bool
    error: str | None = None


class TransportView(msgspec.Struct, frozen=True, kw_only=True):
    """A way on which robots reach the hub. `connections` is how many are connected to the hub itself; null when a
    broker stands in between."""

    name: str
    address: str
    connected: bool
    connections: int | None = None
    error: str | None = None


class HubView(msgspec.Struct, frozen=True, kw_only=True):
    """The hub itself. `counters` count messages since the start, by what became of them."""

    version: str
    started: int
    now: int
    roles: list[str]
    auto_accept: bool
    broker: BrokerView
    transports: list[TransportView]
    robots: int
    counters: dict[str, int]


class StoreWaiting(msgspec.Struct, frozen=True, kw_only=True):
    """What is committed and waits to be compacted."""

    messages: int
    bytes: int


class StoreClass(msgspec.Struct, frozen=True, kw_only=True):
    """A class of data: samples, buckets or rows (`count`), their bytes, the times of the oldest and newest of them, and
    how long and how much of them is kept; null means for ever, and all."""

    name: ClassName
    count: int
    bytes: int
    oldest: int | None
    newest: int | None
    keep_days: float | None
    keep_bytes: int | None


class StoreSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large the database was at `ts`."""

    ts: int
    bytes: int


class StoreView(msgspec.Struct, frozen=True, kw_only=True):
    """The database. `free_bytes` are left on its disk, null when the hub cannot see that; `limit_bytes` is a size that
    it cannot go beyond. `bytes_per_sample` is that of telemetry with its aggregates after compaction.
    `growth_bytes_per_day` is measured over the last seven days, null before there is an hour of `history`; at that
    growth there is no room left at `full_at`, null when it does not grow, or not within a hundred years."""

    engine: Engine
    address: str
    bytes: int
    free_bytes: int | None
    limit_bytes: int | None
    waiting: StoreWaiting
    classes: list[StoreClass]
    bytes_per_sample: float | None
    growth_bytes_per_day: float | None
    history: list[StoreSize]
    full_at: int | None


class TelemetryResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of messages that were sent over HTTP; all of `committed` are in the store when this is answered."""

    committed: int
    duplicates: int
    quarantined: int
    problems: list[str] = []


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, as RFC 9457 wants it."""

    title: str
    status: int
    type: str = "about:blank"
    detail: str | None = None
    instance: str | None = None
    field: str | None = None
