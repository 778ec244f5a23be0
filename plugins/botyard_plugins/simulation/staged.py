"""Robots and fleets under test, as their hub sees them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

import msgspec

from botyard.commands.life import is_open
from botyard.store.base import CommandRow, StoredEvent
from botyard_edge.runtime import Runtime
from botyard_plugins.simulation.robot import SimulatedRobot
from botyard_schemas import State
from botyard_schemas.messages import Report

if TYPE_CHECKING:
    from botyard_plugins.simulation.testing import Stage

PAGE = 10_000
# Seconds after its deadline in which the hub notes that a command has expired.
NOTED_WITHIN = 5.0

_read_report = msgspec.json.Decoder(Report).decode


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended: `succeeded`, `failed`, `cancelled`, `rejected` or `expired`; `progress` is all that was told
    of it, from 0 to 1."""

    status: str
    reason: str | None = None
    result: dict[str, Any] | None = None
    progress: list[float] = field(default_factory=list)


class Begun:
    """A command that was asked for."""

    def __init__(self, stage: "Stage", robot: str, row: CommandRow) -> None:
        self.id = row.id
        self._stage = stage
        self._robot = robot
        self._name = row.name

    @property
    def status(self) -> str:
        """How far it is, as the hub knows it."""
        return self._row().status

    @property
    def answer(self) -> Answer | None:
        """How it ended; None: it has not yet."""
        row = self._row()
        return None if is_open(row) else self._answer(row)

    def wait(self, within: float) -> Answer:
        """Let time pass until it has ended. Raises TimeoutError."""
        try:
            self._stage.clock.advance_until(lambda: not is_open(self._row()), limit=within)
        except TimeoutError:
            row = self._row()
            far = "" if row.progress is None else f", progress {row.progress:.2f}"
            raise TimeoutError(
                f"{self._name} of {self._robot} has not ended within {within:g} s: {row.status}{far}"
            ) from None
        return self._answer(self._row())

    def _row(self) -> CommandRow:
        row = self._stage.run(self._stage.hub.store.command(self.id))
        assert row is not None  # noqa: S101 - it was kept when it was asked for, and the hub forgets none
        return row

    def _answer(self, row: CommandRow) -> Answer:
        rows = self._stage.run(self._stage.hub.store.reports(self.id))
        reports = [_read_report(one.body) for one in rows]
        result = next((report.result for report in reversed(reports) if report.result is not None), None)
        return Answer(row.status, row.reason, result, [one.progress for one in reports if one.progress is not None])


class Robot:
    """One robot: a real edge runtime, and what the hub has of it."""

    def __init__(self, stage: "Stage", simulated: SimulatedRobot, *, disk: bool) -> None:
        self.name = simulated.name
        self.simulated = simulated
        self.disk = disk
        self._stage = stage

    def __repr__(self) -> str:
        return f"<Robot {self.name}>"

    @property
    def runtime(self) -> Runtime:
        """Its edge runtime, of the latest boot."""
        return self.simulated.runtime

    @property
    def online(self) -> bool:
        """Whether the hub takes it to be there."""
        record = self._stage.hub.fleet.get(self.name)
        return record is not None and record.presence.status == "online"

    @property
    def state(self) -> State:
        """The latest state that the hub knows. Raises LookupError while it knows none."""
        record = self._stage.hub.fleet.get(self.name)
        if record is None or record.state is None:
            raise LookupError(f"the hub knows no state of {self.name} yet")
        return record.state

    def samples(self, channel: str) -> list[Any]:
        """The values that the hub has committed, in the order of their times. Raises LookupError for a channel that the
        robot has never sent."""
        return [value for _, value in self._read(channel)]

    def times(self, channel: str) -> list[int]:
        """Their times, microseconds since 1970."""
        return [ts for ts, _ in self._read(channel)]

    def events(self, name: str | None = None) -> list[StoredEvent]:
        """The events that the hub has of it, the oldest first; a name also finds what is below it."""
        return self._stage.run(self._events(name))

    def begin(self, name: str, *, within: float = 60.0, **args: Any) -> Begun:
        """Ask the hub for a command, which has to begin within so many seconds. Raises CommandRefusedError."""
        return self._stage.request(self.name, name, args, within)

    def command(self, name: str, *, within: float = 60.0, **args: Any) -> Answer:
        """Ask the hub for a command, and let time pass until it has ended. Raises TimeoutError."""
        return self.begin(name, within=within, **args).wait(within + NOTED_WITHIN)

    def finish(self) -> list[str]:
        """End the robot, wait until everything has arrived, and say what is wrong: a sentence for each message that was
        lost, for samples that are stored twice, for what the hub refused, and for nodes that did not run."""
        return self._stage.finish([self])

    def _read(self, channel: str) -> list[tuple[int, Any]]:
        found, known = self._stage.run(self._samples(channel))
        if not found and channel not in known:
            raise LookupError(f"{self.name} has sent no channel {channel!r} yet, but {', '.join(known) or 'none'}")
        return found

    async def _samples(self, channel: str) -> tuple[list[tuple[int, Any]], list[str]]:
        store, found, cursor = self._stage.hub.store, [], None
        while True:
            page = await store.samples(robots=[self.name], channels=[channel], limit=PAGE, cursor=cursor)
            found += [(sample.ts, sample.value) for sample in page.items]
            if (cursor := page.next) is None:
                return found, sorted(row.channel for row in await store.channels(self.name))

    async def _events(self, name: str | None) -> list[StoredEvent]:
        found: list[StoredEvent] = []
        cursor = None
        while True:
            page = await self._stage.hub.store.events(robot=self.name, name=name, limit=PAGE, cursor=cursor)
            found += page.items
            if (cursor := page.next) is None:
                return sorted(found, key=lambda event: (event.ts, event.id))


class Fleet(Sequence[Robot]):
    """Several robots."""

    def __init__(self, stage: "Stage", robots: Sequence[Robot]) -> None:
        self._stage = stage
        self._robots = list(robots)

    @overload
    def __getitem__(self, index: int) -> Robot: ...
    @overload
    def __getitem__(self, index: slice) -> "Fleet": ...
    def __getitem__(self, index: int | slice) -> "Robot | Fleet":
        if isinstance(index, slice):
            return Fleet(self._stage, self._robots[index])
        return self._robots[index]

    def __len__(self) -> int:
        return len(self._robots)

    def __iter__(self) -> Iterator[Robot]:
        return iter(self._robots)

    def command(self, name: str, *, within: float = 60.0, **args: Any) -> list[Answer]:
        """Ask for a command of every robot at once, and let time pass until all have ended. Raises TimeoutError."""
        begun = [robot.begin(name, within=within, **args) for robot in self._robots]
        end = self._stage.clock.monotonic() + within + NOTED_WITHIN
        return [one.wait(max(0.0, end - self._stage.clock.monotonic())) for one in begun]

    def finish(self) -> list[str]:
        """End all robots, wait until everything has arrived, and say what is wrong, as of a single robot."""
        return self._stage.finish(self._robots)


Condition = Callable[[], bool]
