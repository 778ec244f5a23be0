"""The typed side of the wire contract: one frozen, slotted class per schema in `v1/`.

Field meanings, units and examples are in the schema files; these classes only carry them. Times are microseconds since
1970 in hub time, unless a name says otherwise.
"""

from typing import Any, Literal, get_args

import msgspec

PresenceReason = Literal["connected", "heartbeat", "stopped", "last_will", "socket_closed", "retired", "returned"]
Mode = Literal["manual", "auto", "safe", "estop"]
Health = Literal["ok", "warning", "error"]
Severity = Literal["debug", "info", "warning", "error", "critical"]
ValueType = Literal["number", "integer", "boolean", "text", "object", "pose", "geo"]
NodeStatus = Literal["starting", "running", "backoff", "failed", "stopped"]
NodeReason = Literal["error", "connection", "hang", "budget", "configuration"]
OnViolation = Literal["clamp", "reject", "safe"]
CalibrationStatus = Literal["applied", "off", "unused", "expired", "drifted"]
ReportStatus = Literal["accepted", "running", "succeeded", "failed", "cancelled", "expired", "rejected"]

SEVERITIES: tuple[Severity, ...] = get_args(Severity)
VALUE_TYPES: tuple[ValueType, ...] = get_args(ValueType)


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of everything that is part of a message."""


class Pose(Message, frozen=True):
    """Where a robot stands on a site plan: metres and radians in `frame` (ROS REP-103, REP-105)."""

    frame: str
    x: float
    y: float
    yaw: float
    z: float = 0.0


class Geo(Message, frozen=True):
    """Where a robot is on Earth: WGS 84 degrees, metres above mean sea level."""

    lat: float
    lon: float
    alt: float | None = None
    heading: float | None = None


class Channel(Message, frozen=True):
    """One column of samples."""

    name: str
    values: list[Any]
    type: ValueType = "number"
    unit: str | None = None


class Group(Message, frozen=True):
    """Channels sampled at the same instants; `dt` is relative to the envelope's `ts`."""

    dt: list[int]
    channels: list[Channel]


class Telemetry(Message, frozen=True):
    """A batch of samples."""

    groups: list[Group]


class About(Message, frozen=True):
    """What a robot says of itself."""

    name: str | None = None
    type: str | None = None
    vendor: str | None = None
    model: str | None = None
    serial: str | None = None
    software: str | None = None


class Battery(Message, frozen=True):
    """The main battery; `level` from 0 to 1, volts, amperes."""

    level: float
    voltage: float | None = None
    current: float | None = None
    charging: bool | None = None


class NodeState(Message, frozen=True):
    """One supervised node of the edge runtime."""

    status: NodeStatus
    restarts: int
    error: str | None = None
    reason: NodeReason | None = None


class Limit(Message, frozen=True, omit_defaults=False):
    """One limit that the robot keeps by itself, in a UCUM unit."""

    value: float
    unit: str
    on_violation: OnViolation


class LinkState(Message, frozen=True, omit_defaults=False):
    """The robot's view of its connection."""

    backlog: int = 0
    dropped: int = 0
    clock_offset: int | msgspec.UnsetType = msgspec.UNSET
    round_trip: int | msgspec.UnsetType = msgspec.UNSET


class ProfileState(Message, frozen=True):
    """Where one calibration profile stands."""

    version: int
    status: CalibrationStatus
    problem: str | None = None


class CalibrationState(Message, frozen=True, omit_defaults=False):
    """What the robot is corrected by; `hash` names all of it."""

    hash: str
    profiles: dict[str, ProfileState]


class State(Message, frozen=True):
    """The whole physical state of a robot."""

    mode: Mode
    health: Health
    mode_reason: str | None = None
    health_reasons: list[str] = []
    busy: bool | None = None
    doing: str | None = None
    about: About | None = None
    pose: Pose | None = None
    geo: Geo | None = None
    battery: Battery | None = None
    nodes: dict[str, NodeState] = {}
    limits: dict[str, Limit] = {}
    link: LinkState | None = None
    calibration: CalibrationState | None = None


class Event(Message, frozen=True):
    """Something happened on the robot, `dt` after the envelope's `ts`."""

    name: str
    severity: Severity
    message: str | None = None
    dt: int = 0
    data: dict[str, Any] = {}
    cause: str | None = None


class Report(Message, frozen=True):
    """How far a command or a mission step has come."""

    command: str
    status: ReportStatus
    progress: float | None = None
    step: str | None = None
    reason: str | None = None
    result: dict[str, Any] | None = None


class Presence(Message, frozen=True):
    """Whether a robot is connected."""

    status: Literal["online", "offline"]
    session: str
    reason: PresenceReason | None = None
    since: int | None = None
    interval: float | None = None


class Command(Message, frozen=True):
    """Something that a robot is asked to do before `expires`."""

    id: str
    name: str
    expires: int
    args: dict[str, Any] = {}
    cause: str | None = None


class Ack(Message, frozen=True, gc=False):
    """Everything of `epoch` up to and including `seq` is committed, and beyond it the closed ranges `beyond`, lowest
    first; of many ranges only the first."""

    epoch: str
    seq: int
    beyond: tuple[tuple[int, int], ...] = ()


class BootTime(Message, frozen=True):
    """How the steady clock of an earlier boot stands to the hub's time."""

    boot: str
    ahead: int
    estimated: bool = False


class Time(Message, frozen=True):
    """A clock request (without `received` and `replied`) or its answer."""

    origin: int
    received: int | None = None
    replied: int | None = None
    boot: str | None = None
    steady: int | None = None
    ahead: int | None = None
    boots: list[BootTime] = []


Body = Telemetry | State | Event | Report | Presence | Command | Ack | Time

BODIES: dict[str, type[Body]] = {
    "telemetry": Telemetry,
    "state": State,
    "event": Event,
    "report": Report,
    "presence": Presence,
    "command": Command,
    "ack": Ack,
    "time": Time,
}
TYPE_OF: dict[type[Body], str] = {body: name for name, body in BODIES.items()}

# Types that pass through the robot's outbox and therefore carry epoch and sequence number.
SEQUENCED = frozenset({"telemetry", "state", "event", "report"})


class Unsynced(Message, frozen=True):
    """The stamp of a message is of the robot's own clock: this was its steady clock then, in microseconds."""

    boot: str
    steady: int


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """One message between a robot and its hub. `epoch` is "" and `seq` 0 on types that carry none."""

    robot: str
    ts: int
    body: Body
    epoch: str = ""
    seq: int = 0
    robot_ts: int | None = None
    unsynced: Unsynced | None = None

    @property
    def type(self) -> str:
        """Name of the message's type, as it stands on the wire."""
        return TYPE_OF[type(self.body)]
