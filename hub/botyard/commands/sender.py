"""Sends what was not answered yet: when the robot is there, again when it does not answer, until the deadline. And asks
what has become of what a robot began, when it says nothing more of it."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Self

from botyard.commands.life import Sign, is_open
from botyard.commands.request import envelope_of, question_of
from botyard.commands.rows import Rows
from botyard.commands.waiting import Outstanding, Timetable, Waiting
from botyard.commands.ways import Ways
from botyard.core.bus import Bus
from botyard.core.events import RobotChanged, RobotLeaving, RobotRemoved
from botyard.core.tasks import Tasks
from botyard.fleet.fleet import Fleet
from botyard.plugin.api import Transport
from botyard.store.base import CommandRow, StoreError
from botyard_schemas import Envelope
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

TICK = 0.25
# Seconds after which a command is sent again, the last one again and again.
RESEND_AFTER = (3.0, 6.0, 12.0, 30.0)
# What a robot that is back gets to say that it had the command already. And how often those are looked for that are
# back without anybody having heard of it, since a robot that flaps is not told about: seconds.
GRACE, LOOK_EVERY = 2.0, 5.0
RETRY_AFTER = 1.0
# Of a command that a robot began: so long after the deadline and its last word the robot is asked, and again so often.
# One that is away for so long, or says nothing for so long while it is there, will not be heard of any more.
ASK_AFTER, ASK_EVERY = 60.0, 300.0
LOST_WHEN_AWAY, LOST_WHEN_SILENT = 3600.0, 86_400.0
# Steps that are under way at once, stops aside, and those that are begun before others get their turn.
MAX_STEPS, STEPS_AT_ONCE = 256, 64


class Sender:
    """Looks at each command when it is time, while its `async with` lasts."""

    def __init__(self, fleet: Fleet, bus: Bus, clock: Clock, rows: Rows) -> None:
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._rows = rows
        self._tasks = Tasks()
        self._ways = Ways(fleet)
        self._present: set[str] = set()
        self._timetable = Timetable()
        self._wanted = asyncio.Event()
        self._steps: set[asyncio.Task[None]] = set()
        self.outstanding = Outstanding()

    async def __aenter__(self) -> Self:
        self._unsubscribe = [
            self._bus.subscribe(RobotChanged, lambda changed: self._look_for(changed.robot)),
            self._bus.subscribe(RobotLeaving, lambda leaving: self._doubt(leaving.robot)),
            self._bus.subscribe(RobotRemoved, lambda removed: self._forget_robot(removed.robot)),
        ]
        await self._tasks.__aenter__()
        self._tasks.start(self._run(), "hub.commands.send")
        self._tasks.start(self._tick(), "hub.commands.tick")
        self._tasks.start(self._look_around(), "hub.commands.look")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        self._tasks.cancel()
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        await self._tasks.__aexit__(*exc)

    def attach(self, transports: Iterable[Transport]) -> None:
        """Name the transports over which commands go."""
        self._ways.attach(transports)

    # --- what is outstanding

    def add(self, row: CommandRow, *, answered: bool = False) -> None:
        """Send it as soon as the robot is there. What a hub before this one sent is given time to be answered;
        `answered`: that has happened already, and `follow` comes after."""
        now = self._clock.monotonic()
        one = Waiting(row, answered=answered, unsure=self._fleet.leaving(row.robot))
        one.quiet = max(now, now + (row.expires - self._clock.now()) / 1e6)
        self.outstanding.add(one)
        self._look_at(one, now + (RESEND_AFTER[0] if row.status == "sent" else 0.0))

    def heard(self, robot: str, command: str) -> None:
        """The robot has answered: nothing is sent again, and the hub does not give it up. `follow` comes after."""
        one = self.outstanding.get(command)
        if one is not None and one.row.robot == robot:
            one.answered = True

    def follow(self, row: CommandRow) -> None:
        """This is the command after what the robot said."""
        one = self.outstanding.get(row.id)
        if not is_open(row):
            self.outstanding.remove(row.id)
        elif one is None:
            self.add(row)
        else:
            now = self._clock.monotonic()
            one.row, one.answered, one.away = row, False, None
            one.quiet = max(now, now + (row.expires - self._clock.now()) / 1e6)
            self._look_at(one, now)

    def hold(self, command: str) -> Waiting | None:
        """Do not send this one, until `release` or `follow`; None when that has begun already."""
        one = self.outstanding.get(command)
        if one is None or one.busy or one.sendings or one.doubtful or one.answered:
            return None
        one.busy = True
        return one

    def release(self, one: Waiting) -> None:
        """It may be sent after all."""
        one.busy = False
        if self.outstanding.get(one.row.id) is one:
            self._look_at(one, self._clock.monotonic())

    def give_up(self, robot: str, reason: str) -> None:
        """Cancel everything that the robot has not answered."""
        for one in self.outstanding.of(robot):
            if not one.begun:
                one.given_up = reason
                self._look_at(one, self._clock.monotonic())

    def _doubt(self, robot: str) -> None:
        """The robot is being removed with its commands. If that fails half way, some are gone and it is not."""
        for one in self.outstanding.of(robot):
            one.unsure = True

    def _forget_robot(self, robot: str) -> None:
        for one in self.outstanding.of(robot):
            self.outstanding.remove(one.row.id)
        self._present.discard(robot)

    def _look_at(self, one: Waiting, due: float) -> None:
        self._timetable.put(one, due)
        self._wanted.set()

    # --- when

    def _look_for(self, robot: str) -> None:
        """Notice whether the robot is there now; if it was not before, what waits for it is due."""
        if self._ways.to(robot) is None:
            self._present.discard(robot)
        elif robot not in self._present and (waiting := self.outstanding.of(robot)):
            self._present.add(robot)
            self._due(waiting)

    def _due(self, waiting: Iterable[Waiting]) -> None:
        now = self._clock.monotonic()
        for one in waiting:
            due = now if one.row.status == "queued" else now + GRACE
            if one.due > due:
                self._look_at(one, due)

    async def _look_around(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY)
            for n, robot in enumerate(self.outstanding.robots(), 1):
                self._look_for(robot)
                if n % 500 == 0:
                    await asyncio.sleep(0)
            self._timetable.tidy(self.outstanding)

    async def _tick(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            if self._timetable.next() <= self._clock.monotonic():
                self._wanted.set()

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            now = self._clock.monotonic()
            begun = 0
            while (one := self._timetable.pop(now, only_urgent=len(self._steps) >= MAX_STEPS)) is not None:
                if one.busy or self.outstanding.get(one.row.id) is not one:
                    continue
                one.busy = True
                step = asyncio.create_task(self._step(one), name=f"hub.commands.step {one.row.id}")
                self._steps.add(step)
                step.add_done_callback(self._step_done)
                begun += 1
                if begun % STEPS_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _step_done(self, step: asyncio.Task[None]) -> None:
        if len(self._steps) >= MAX_STEPS:
            self._wanted.set()  # there is room for another one
        self._steps.discard(step)

    # --- what

    async def _step(self, one: Waiting) -> None:
        """Do what it is time for."""
        began = self._clock.monotonic()  # pauses count from here, since keeping things may take its time
        try:
            pause = await self._decide(one)
        except StoreError as error:
            log.error("command %s of robot %s: %s", one.row.id, one.row.robot, error)
            pause = RETRY_AFTER
        except Exception:
            log.exception("command %s of robot %s", one.row.id, one.row.robot)
            pause = LOOK_EVERY
        finally:
            one.busy = False
        if self.outstanding.get(one.row.id) is not one:
            return
        if pause is None:
            self.outstanding.remove(one.row.id)
        else:
            self._look_at(one, began if one.given_up and not one.begun else began + pause)

    async def _decide(self, one: Waiting) -> float | None:
        """Seconds until the next look; None when nothing more is expected of it."""
        if one.unsure:
            if await self._rows.get(one.row.id) is None:
                return None
            one.unsure = self._fleet.leaving(one.row.robot)
        if one.answered:
            return RETRY_AFTER
        if one.begun:
            return await self._ask(one)
        row, now = one.row, self._clock.now()
        if one.given_up is not None:
            return await self._end(one, Sign.WITHDRAW, one.given_up)
        if now >= row.expires:
            return await self._end(one, Sign.DEADLINE, self._why(one))
        left = (row.expires - now) / 1e6
        transport = self._ways.to(row.robot)
        if transport is None:
            self._present.discard(row.robot)
            return left
        self._present.add(row.robot)
        if not await self._send(one, transport, envelope_of(row, now), left):
            return min(RETRY_AFTER, left)
        one.sendings += 1
        after = await self._rows.move(row.id, Sign.SEND)
        if after is None or not is_open(after):
            return None
        one.row = after
        return min(self._resend_after(one), left)

    async def _ask(self, one: Waiting) -> float | None:
        """The robot began it. When it says nothing more, ask, and give it up at last."""
        now = self._clock.monotonic()
        if (wait := max(one.quiet, one.asked) + ASK_AFTER - now) > 0:
            return wait
        transport = self._ways.to(one.row.robot)
        if transport is None:
            self._present.discard(one.row.robot)
            one.away = now if one.away is None else one.away
            if (left := one.away + LOST_WHEN_AWAY - now) > 0:
                return left
            return await self._end(one, Sign.LOST, "the robot had begun it, is away, and was not heard of again")
        self._present.add(one.row.robot)
        one.away = None
        if now >= one.quiet + LOST_WHEN_SILENT:
            return await self._end(one, Sign.LOST, "the robot had begun it, and said nothing more of it for a day")
        question = question_of(one.row, self._clock.now())
        if not await self._send(one, transport, question, ASK_EVERY):
            return RETRY_AFTER
        one.asked = now
        return ASK_EVERY

    async def _end(self, one: Waiting, sign: Sign, reason: str) -> float | None:
        after = await self._rows.move(one.row.id, sign, reason)
        if after is None or not is_open(after):
            return None
        one.row, one.given_up = after, None  # the robot has spoken meanwhile
        return RETRY_AFTER

    async def _send(self, one: Waiting, transport: Transport, message: Envelope, within: float) -> bool:
        sent = await self._ways.send(transport, message, within, urgent=one.urgent)
        if sent is None:
            one.doubtful = True
        return sent is True

    def _resend_after(self, one: Waiting) -> float:
        """What the robot gets to answer."""
        return 0.0 if one.begun else RESEND_AFTER[min(one.sendings, len(RESEND_AFTER)) - 1]

    def _why(self, one: Waiting) -> str:
        if one.row.status == "sent":
            return "the robot got it, perhaps, and did not answer before the deadline"
        record = self._fleet.active(one.row.robot)
        if record is not None and record.presence.status == "online":
            return "nothing could be sent to the robot before the deadline"
        return "the robot was not connected before the deadline"
