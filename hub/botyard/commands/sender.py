"""Sends what was not answered yet: when the robot is there, again when it does not answer, until the deadline."""

import asyncio
import heapq
import itertools
import logging
from collections.abc import Awaitable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

from botyard.commands.life import Sign
from botyard.commands.request import WELL_KNOWN, CommandRefusedError, envelope_of
from botyard.core.bus import Bus
from botyard.core.events import RobotChanged
from botyard.core.tasks import Tasks
from botyard.fleet.fleet import Fleet
from botyard.plugin.api import Transport
from botyard.store.base import CommandRow, StoreError
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

TICK = 0.25
# Seconds after which a command is sent again, the last one again and again.
RESEND_AFTER = (3.0, 6.0, 12.0, 30.0)
# What a robot that is back gets to say that it had the command already, and the longest time between two looks.
GRACE, LOOK_EVERY = 2.0, 5.0
MAX_OF_ROBOT, MAX_OF_ALL = 64, 50_000
RETRY_AFTER = 1.0


class Move(Protocol):
    """Brings a command on, in the store and for everybody."""

    def __call__(self, command: str, sign: Sign, reason: str | None = None) -> Awaitable[CommandRow | None]: ...


@dataclass(slots=True, eq=False)
class Waiting:
    """A command without an answer. `due` is when it is looked at next, by the steady clock."""

    row: CommandRow
    due: float
    sendings: int = 0
    busy: bool = False
    given_up: str | None = None


class Sender:
    """Looks at each command when it is time, while its `async with` lasts."""

    def __init__(self, fleet: Fleet, bus: Bus, clock: Clock, move: Move) -> None:
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._move = move
        self._tasks = Tasks()
        self._transports: dict[str, Transport] = {}
        self._robots: dict[str, dict[str, Waiting]] = {}
        self._by_id: dict[str, Waiting] = {}
        self._present: set[str] = set()
        self._queue: list[tuple[float, bool, int, Waiting]] = []
        self._count = itertools.count()
        self._wanted = asyncio.Event()
        self._steps: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._unsubscribe = self._bus.subscribe(RobotChanged, lambda changed: self._robot_changed(changed.robot))
        await self._tasks.__aenter__()
        self._tasks.start(self._run(), "hub.commands.send")
        self._tasks.start(self._tick(), "hub.commands.tick")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._unsubscribe()
        self._tasks.cancel()
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        await self._tasks.__aexit__(*exc)

    def attach(self, transports: Iterable[Transport]) -> None:
        """Name the transports over which commands go."""
        self._transports = {transport.name: transport for transport in transports}

    # --- what waits

    def check_room(self, robot: str) -> None:
        """Raises CommandRefusedError when the robot has too many commands that it did not answer yet, or all have."""
        if len(self._robots.get(robot, ())) >= MAX_OF_ROBOT:
            raise CommandRefusedError("full", f"{MAX_OF_ROBOT} commands wait for robot {robot!r} already")
        if len(self._by_id) >= MAX_OF_ALL:
            raise CommandRefusedError("full", f"{MAX_OF_ALL} commands wait for robots already")

    def add(self, row: CommandRow) -> None:
        """Send it as soon as the robot is there. What a hub before this one sent is given time to be answered."""
        now = self._clock.monotonic()
        one = Waiting(row, now + (RESEND_AFTER[0] if row.status == "sent" else 0.0))
        self._by_id[row.id] = self._robots.setdefault(row.robot, {})[row.id] = one
        self._look_at(one, one.due)

    def forget(self, command: str) -> None:
        """There is nothing left to send."""
        if one := self._by_id.pop(command, None):
            of_robot = self._robots[one.row.robot]
            del of_robot[command]
            if not of_robot:
                del self._robots[one.row.robot]
                self._present.discard(one.row.robot)

    def heard(self, robot: str, command: str) -> None:
        """The robot has answered: nothing is to be sent again."""
        if command in self._robots.get(robot, ()):
            self.forget(command)

    def forget_robot(self, robot: str) -> None:
        """The robot is removed, with its commands."""
        for command in list(self._robots.get(robot, ())):
            self.forget(command)

    def hold(self, command: str) -> bool:
        """Do not send this one any more; False when that has begun already."""
        one = self._by_id.get(command)
        if one is None or one.busy or one.sendings:
            return False
        self.forget(command)
        return True

    def give_up(self, robot: str, reason: str) -> None:
        """Cancel everything that the robot has not answered."""
        for one in self._robots.get(robot, {}).values():
            one.given_up = reason
            self._look_at(one, self._clock.monotonic())

    def _look_at(self, one: Waiting, due: float) -> None:
        """A stop overtakes everything else that is due."""
        one.due = due
        heapq.heappush(self._queue, (due, one.row.name not in WELL_KNOWN, next(self._count), one))
        self._wanted.set()

    # --- when

    def _robot_changed(self, robot: str) -> None:
        waiting = self._robots.get(robot)
        if not waiting or robot in self._present or self._way(robot) is None:
            return
        self._present.add(robot)
        now = self._clock.monotonic()
        for one in waiting.values():
            if one.row.status == "queued":
                self._look_at(one, now)
            elif one.due > now + GRACE:
                self._look_at(one, now + GRACE)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            if self._queue and self._queue[0][0] <= self._clock.monotonic():
                self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            now = self._clock.monotonic()
            while self._queue and self._queue[0][0] <= now:
                due, _, _, one = heapq.heappop(self._queue)
                if one.due == due and not one.busy and self._by_id.get(one.row.id) is one:
                    one.busy = True
                    step = asyncio.create_task(self._step(one), name=f"hub.commands.step {one.row.id}")
                    self._steps.add(step)
                    step.add_done_callback(self._steps.discard)

    # --- what

    async def _step(self, one: Waiting) -> None:
        """Do what it is time for."""
        began = self._clock.monotonic()  # pauses count from here, since keeping things may take its time
        try:
            pause = await self._decide(one)
        except StoreError as error:
            log.error("command %s of robot %s: %s", one.row.id, one.row.robot, error)
            pause = RETRY_AFTER
        except Exception:  # a transport that is a plugin may do anything
            log.exception("command %s cannot be sent to robot %s", one.row.id, one.row.robot)
            pause = LOOK_EVERY
        finally:
            one.busy = False
        if pause is None:
            self.forget(one.row.id)
        elif one.row.id in self._by_id:
            self._look_at(one, began if one.given_up else began + pause)

    async def _decide(self, one: Waiting) -> float | None:
        """Seconds until the next look; None when it is done with."""
        row, now = one.row, self._clock.now()
        if one.given_up is not None:
            await self._move(row.id, Sign.WITHDRAW, one.given_up)
            return None
        if now >= row.expires:
            await self._move(row.id, Sign.DEADLINE, self._why(one))
            return None
        left = (row.expires - now) / 1e6
        transport = self._way(row.robot)
        if transport is None:
            self._present.discard(row.robot)
            return min(LOOK_EVERY, left)
        self._present.add(row.robot)
        if not await transport.send(envelope_of(row, now)):
            return min(RETRY_AFTER, left)
        one.sendings += 1
        after = await self._move(row.id, Sign.SEND)
        if after is None or after.status != "sent":
            return None
        one.row = after
        return min(RESEND_AFTER[min(one.sendings, len(RESEND_AFTER)) - 1], left)

    def _way(self, robot: str) -> Transport | None:
        """The transport that the robot is on now."""
        record = self._fleet.active(robot)
        if record is None or not record.row.accepted or record.presence.status != "online":
            return None
        return self._transports.get(record.transport or "")

    def _why(self, one: Waiting) -> str:
        if one.row.status == "sent":
            return "the robot got it, perhaps, and did not answer before the deadline"
        record = self._fleet.active(one.row.robot)
        if record is not None and record.presence.status == "online":
            return "nothing could be sent to the robot before the deadline"
        return "the robot was not connected before the deadline"
