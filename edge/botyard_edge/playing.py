"""A recording in place of a robot's drivers: each says again what it said, at the recorded pace.

What the drivers said is played (`drivers/**` and `state/**`); everything else on the bus arises from it anew. Times
keep their distance from the moment at which they were published, divided by the speed.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import msgspec

from botyard_edge.alone import Alone
from botyard_edge.blocking import Elsewhere, Inline, OwnThread
from botyard_edge.config import Config, DriverSettings
from botyard_edge.driver import Capabilities, Channel, Driver, DriverContext, DriverSpec, Port, StateChange
from botyard_edge.node import RestartPolicy
from botyard_edge.recording import Begin, Columns, Frame, Opened, Reading, RecordingError, Sample
from botyard_edge.runtime import Runtime
from botyard_edge.testing import VirtualClock
from botyard_schemas.messages import About, Event, Geo, Pose

# Frames that are read at once.
CHUNK = 500

_STRUCTURED: dict[str, type] = {"pose": Pose, "geo": Geo}


@dataclass(slots=True)
class Part:
    """What a recording holds of one driver."""

    channels: dict[str, Channel]
    lossless: bool = False
    about: About = field(default_factory=About)


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that can be played: it was read once to its end. `began` is the hub's time at its beginning."""

    path: Path
    robot: str
    began: int
    parts: dict[str, Part]
    lost: int
    torn: str | None


def examine(path: Path) -> Recording:
    """Read a recording to its end. Raises RecordingError when it cannot be played. Blocking."""
    reading = Reading(path)
    robot, began, lost = "", 0, 0
    parts: dict[str, Part] = {}
    for frame in reading:
        if isinstance(frame.value, Begin):
            robot, began = robot or frame.value.robot, began or frame.now
        elif frame.type == "lost":
            lost += frame.value
        elif isinstance(frame.value, Opened) and (name := _driver(frame.topic)):
            part = parts.setdefault(name, Part({}))
            part.channels |= {channel.name: channel for channel in frame.value.channels}
            part.lossless, part.about = frame.value.lossless, frame.value.about
    if not parts or not robot:
        raise RecordingError(f"{path}: there is nothing to play in it, since no driver was recorded (drivers/**)")
    return Recording(path, robot, began, parts, lost, reading.torn)


def with_recording(config: Config, recording: Recording, *, speed: float = 1.0, threads: bool = True) -> Config:
    """The settings with the recording in place of the drivers. Messages are kept in memory: the robot's own outbox, and
    what its safety node keeps beside it, are not touched. `threads` False reads it in the event loop, for virtual time.
    """

    def settings(name: str, part: Part) -> DriverSettings:
        def make(context: DriverContext) -> Driver:
            return Player(context, recording.path, part, speed, OwnThread(f"play.{name}") if threads else Inline())

        return DriverSettings(name, DriverSpec("play", "", make, {}), {}, RestartPolicy(failures=0))

    drivers = tuple(settings(*part) for part in recording.parts.items())
    return replace(config, drivers=drivers, record=None, outbox=replace(config.outbox, path=None))


class Player(Driver):
    """Says again what one driver said."""

    def __init__(self, context: DriverContext, path: Path, part: Part, speed: float, elsewhere: Elsewhere) -> None:
        super().__init__(context)
        self._path = path
        self._part = part
        self._speed = speed
        self._elsewhere = elsewhere
        self._topics = {f"drivers/{context.name}/{what}" for what in ("sample", "columns", "event")}
        self._topics.add(f"state/{context.name}")

    async def __aenter__(self) -> Self:
        await self._elsewhere.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._elsewhere.__aexit__(*exc)

    @property
    def capabilities(self) -> Capabilities:
        part = self._part
        return Capabilities(tuple(part.channels.values()), lossless=part.lossless, about=part.about)

    async def run(self, port: Port) -> None:
        clock = self.context.clock
        base = due = clock.monotonic()
        origin = 0
        reading = iter(Reading(self._path))
        while chunk := await self._elsewhere.run(lambda: list(itertools.islice(reading, CHUNK))):
            for frame in chunk:
                if isinstance(frame.value, Begin):
                    base, origin = due, frame.steady  # a part follows the one before without a pause
                    continue
                due = base + (frame.steady - origin) / 1e6 / self._speed
                if frame.topic not in self._topics:
                    continue
                if (wait := due - clock.monotonic()) > 0:
                    await clock.sleep(wait)
                await self._say(port, frame, clock.now() + round((due - clock.monotonic()) * 1e6))
        await port.flush()

    async def _say(self, port: Port, frame: Frame, now: int) -> None:
        """Say a frame whose moment is `now`."""
        value = frame.value

        def moment(ts: int) -> int:
            return now + round((ts - frame.now) / self._speed)

        if isinstance(value, Sample):
            values = {name: self._typed(name)(sample) for name, sample in value.values.items()}
            await port.publish(values, ts=moment(value.ts))
        elif isinstance(value, Columns):
            columns = {name: list(map(self._typed(name), column)) for name, column in value.columns.items()}
            await port.publish_columns([moment(ts) for ts in value.ts], columns)
        elif isinstance(value, Event):
            ts = moment(frame.now + value.dt)
            await port.event(value.name, value.severity, value.message, data=value.data, ts=ts, cause=value.cause)
        else:
            port.update_state(**msgspec.convert(value, StateChange))

    def _typed(self, name: str) -> Callable[[Any], Any]:
        """Makes what a driver published of what was recorded."""
        kind = _STRUCTURED.get(self._part.channels[name].type) if name in self._part.channels else None
        if kind is None:
            return lambda value: value
        return lambda value: None if value is None else msgspec.convert(value, kind)


def _driver(topic: str) -> str | None:
    segments = topic.split("/")
    return segments[1] if len(segments) == 3 and segments[0] == "drivers" else None


async def play_alone(recording: Recording, say: Callable[[bytes], None], *, speed: float = 1.0) -> int:
    """Play a recording without a hub, on virtual time and so as fast as it goes. `say` gets each message that would
    have gone out, as JSON; the same recording gives the same messages. Returns the exit code."""
    clock = VirtualClock(recording.began)
    heard: list[bytes] = []
    config = Config(recording.robot, (), exit_when_done=True)
    config = with_recording(config, recording, speed=speed, threads=False)
    runtime = Runtime(config, clock=clock, rng=random.Random(0), transport=Alone(clock, heard.append))
    task = asyncio.create_task(runtime.run(), name="edge.play")
    try:
        while not task.done():
            await clock.advance(0.1)
            for message in heard:
                say(message)
            heard.clear()
        return task.result()
    finally:
        await _ended(task, clock)


async def _ended(task: "asyncio.Task[int]", clock: VirtualClock) -> None:
    task.cancel()
    while not task.done():
        await clock.advance(0.1)
