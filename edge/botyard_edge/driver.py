"""The public contract between a robot's driver and the runtime. A driver's author needs this module and no other.

A driver is an async context manager that knows its capabilities once it is entered. The runtime calls `run`, which
publishes samples through its `Port` until it has nothing more to say, and `execute` for each command of the hub. What
the runtime does when a driver fails is said by the error's class.
"""

import importlib
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, TypedDict, Unpack

from botyard_schemas.clock import Clock
from botyard_schemas.messages import About, Battery, Command, Geo, Health, Mode, Pose, Severity, ValueType

__all__ = [
    "About",
    "Battery",
    "Capabilities",
    "Channel",
    "Command",
    "CommandFailedError",
    "CommandRejectedError",
    "CommandSpec",
    "ConfigurationError",
    "ConnectionLostError",
    "Driver",
    "DriverContext",
    "DriverError",
    "DriverSpec",
    "Found",
    "Geo",
    "Later",
    "Motion",
    "Port",
    "Pose",
    "Progress",
    "ReadingError",
    "Severity",
    "StateChange",
    "Wheels",
]


class DriverError(Exception):
    """Something went wrong: restarted after a pause that grows, with a traceback. So is any other error."""


class ConfigurationError(DriverError):
    """The options cannot work, and trying again would not help: failed until the edge is started anew."""


class ConnectionLostError(DriverError):
    """The robot behind the driver cannot be reached: restarted after a pause that grows, without a traceback."""


class ReadingError(DriverError):
    """Raised by the runtime: what the driver published is not what it declared. The sentence names the channel."""


class CommandRejectedError(DriverError):
    """Nothing was begun, and the command's report says `rejected` with this sentence. The driver goes on."""


class CommandFailedError(DriverError):
    """The command ended without success: its report says `failed`, or `cancelled` when somebody wanted it so."""

    def __init__(self, message: str, *, cancelled: bool = False) -> None:
        super().__init__(message)
        self.cancelled = cancelled


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel that the driver may publish. `unit` is a UCUM code; `rate` is samples per second, as far as known."""

    name: str
    type: ValueType = "number"
    unit: str | None = None
    rate: float | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class Motion:
    """What a command moves, so that the safety node keeps the robot's limits and a driver needs no checks of its own.

    `kind` is `none` (moves nothing), `stop`, `velocity` (to be repeated, or the robot is stopped) or `goal`. `linear`
    names arguments in m/s and `angular` such in rad/s, each group the components of one vector; `other` names further
    arguments that are 0 at rest. `goal` names x and y in metres, in `frame` or that of the pose, driven to on a
    `straight` way or on another. `lasting`: the robot goes on moving when the command has succeeded.

    A goal without coordinates is at one of `places`, x and y in metres in the same frame by name, of which the argument
    `place` names one (None: it may be any of them); or it `ends` `here`, above the place where the robot is, or at
    `home`, where it set out. With none of them it may be anywhere.
    """

    kind: Literal["none", "stop", "velocity", "goal"]
    linear: tuple[str, ...] = ()
    angular: tuple[str, ...] = ()
    other: tuple[str, ...] = ()
    goal: tuple[str, str] | None = None
    frame: str | None = None
    straight: bool = False
    lasting: bool = False
    places: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    place: str | None = None
    ends: Literal["here", "home"] | None = None


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A command that the driver executes; `args` is the JSON Schema of its arguments. A command without `motion` may
    move anything: it is refused in safe mode, and where limits are set that could not be kept."""

    name: str
    description: str = ""
    args: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "maxProperties": 0})
    motion: Motion | None = None


@dataclass(frozen=True, slots=True)
class Wheels:
    """Of a differential drive, in metres: the radii, and the track between the points where the wheels touch."""

    radius_left: float
    radius_right: float
    track: float


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the robot behind a driver can do. `lossless` says that its data are recorded elsewhere and can wait:
    publishing then blocks while the outbox is full, instead of giving up the oldest telemetry. `wheels` as they are
    by design: a driver that declares them reckons with them, and hears by `measured` when they are measured."""

    channels: tuple[Channel, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    lossless: bool = False
    about: About = field(default_factory=About)
    wheels: Wheels | None = None


class StateChange(TypedDict, total=False):
    """The parts of the robot's state that a driver knows; parts that are not named stay as they are. `estop_inputs`
    are emergency stops that can be pressed, by name, True while one is; all of them are told when the driver begins."""

    mode: Mode
    mode_reason: str | None
    health: Health
    health_reasons: list[str]
    busy: bool
    doing: str | None
    pose: Pose
    geo: Geo
    battery: Battery
    estop_inputs: Mapping[str, bool]


class Port(Protocol):
    """What the runtime gives a running driver. Times are microseconds since 1970."""

    async def publish(self, values: Mapping[str, Any], *, ts: int | None = None) -> None:
        """Samples of several channels at one instant (None: now). None, NaN and infinities mean "no sample".

        Raises ReadingError for a channel that was not declared or a value of another type.
        """

    async def publish_columns(self, ts: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
        """Many instants at once: each column has one value per time. Raises ReadingError."""

    async def event(
        self,
        name: str,
        severity: Severity = "info",
        message: str | None = None,
        *,
        data: dict[str, Any] | None = None,
        ts: int | None = None,
        cause: str | None = None,
    ) -> None:
        """Tell that something happened at `ts` (None: now). Raises ReadingError for what the wire contract does not
        allow: a name with other characters than letters, digits and `_.[]-`, or data that are no JSON."""

    async def flush(self) -> None:
        """Have everything that was published so far in the outbox when this returns."""

    def update_state(self, **changes: Unpack[StateChange]) -> None:
        """Change parts of the robot's state; the runtime decides when to send it."""

    def alive(self) -> None:
        """Show a sign of life, where there is nothing to publish. Every other call of the port is one, too."""


Progress = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class DriverContext:
    """What a driver is made from. `options` keep the driver's schema and have its defaults filled in; relative paths in
    them are relative to `folder`. Time and randomness come from here only, so that simulations can be repeated."""

    robot: str
    name: str
    options: Mapping[str, Any]
    folder: Path
    clock: Clock
    rng: random.Random


class Driver(ABC):
    """One robot, or a part of one. Opened by `async with`, and opened anew by a new instance after each failure."""

    def __init__(self, context: DriverContext) -> None:
        self.context = context

    async def __aenter__(self) -> Self:
        """Connect to the robot. Raises ConfigurationError or ConnectionLostError."""
        return self

    async def __aexit__(self, *exc: object) -> None:  # noqa: B027 - most have nothing to let go of
        """Let go of the robot."""

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What the robot can do; asked once, after `__aenter__`."""

    @abstractmethod
    async def run(self, port: Port) -> None:
        """Publish until there is nothing more to publish. Returning means that the work is done."""

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        """Do what the command asks and return its result. Called concurrently with `run`, and with other commands.

        `await progress(0.4)` reports how far it is. Raises CommandRejectedError or CommandFailedError.
        """
        del progress
        raise CommandRejectedError(f"{command.name}: this driver executes no commands")

    async def stop(self) -> None:  # noqa: B027 - what does not move is at rest
        """Bring the robot to rest, as soon as is safe. Called before the end, and whenever the robot has to stop, also
        while an earlier call is still under way. After 5 s it is cancelled, and `halt` is called."""

    def measured(self, wheels: Wheels) -> None:  # noqa: B027 - most have none
        """Reckon with these wheels from now on: of the robot's calibration, or those that were declared, again. Called
        before `run` and at any time after, for drivers that declare wheels."""

    def halt(self) -> None:  # noqa: B027 - what does not move is at rest
        """Bring the robot to rest at once, without the event loop: called in any thread, also while the loop is
        blocked or `execute` is at work, and before `stop`. Must return within some milliseconds."""


# A place in a driver's options (keys and indices, from the outside in), and what is to be said of it.
Found = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True, slots=True)
class Later:
    """Makes drivers of a class whose module is imported only on robots that have such a driver, so that all others save
    its memory: `Later("my_package.driver", "MyDriver")` as the `factory` of a `DriverSpec`."""

    module: str
    name: str

    def load(self) -> Callable[[DriverContext], Driver]:
        """Import the module; the class. Before a robot runs, since that takes a moment."""
        made: Callable[[DriverContext], Driver] = getattr(importlib.import_module(self.module), self.name)
        return made

    def __call__(self, context: DriverContext) -> Driver:
        return self.load()(context)


@dataclass(frozen=True, slots=True)
class DriverSpec:
    """How a driver is registered: its name in `robot.yaml`, the JSON Schema of its options, and how it is made.

    `check` finds what is wrong with options that keep the schema, as sentences; `channels` names the channels that
    options ask for. Both are called before the driver is made, so that mistakes are told with file and line.
    `dock` names, by the options, the command that brings the robot home; it needs no arguments, and the robot gives it
    to itself when its link is lost and `link_lost: return_to_dock` is declared. None: there is none.
    `hang_after`: a driver that has not called its port for so many seconds hangs, and is started anew; None: it may be
    silent for as long as it likes. Opening the driver counts as well. `robot.yaml` may say otherwise.
    """

    name: str
    description: str
    factory: Callable[[DriverContext], Driver]
    options: Mapping[str, Any]
    check: Callable[[Mapping[str, Any]], Iterable[Found]] = lambda _: ()
    channels: Callable[[Mapping[str, Any]], Iterable[Found]] = lambda _: ()
    hang_after: float | None = None
    dock: Callable[[Mapping[str, Any]], str | None] = lambda _: None

    EMPTY_OPTIONS: ClassVar[Mapping[str, Any]] = {"type": "object", "additionalProperties": False, "properties": {}}
