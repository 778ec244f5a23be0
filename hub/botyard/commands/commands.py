"""What robots are to do: kept before it is sent, and sent again until the robot answers or the deadline has passed."""

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Self

from botyard.commands.life import Sign, answered, is_open
from botyard.commands.reported import Reported, Said, said_in
from botyard.commands.request import CommandRefusedError, Wanted, row_of, same
from botyard.commands.rows import Rows
from botyard.commands.sender import Sender
from botyard.core.actor import Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.events import ReportCommitted, RobotRetired
from botyard.core.tasks import Tasks
from botyard.fleet.fleet import Fleet
from botyard.plugin.api import Transport
from botyard.store.base import CommandRow, ReportRow, Store, StoreError
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

RETRY_AFTER = 1.0


class Commands:
    """Sends and follows commands while its `async with` lasts; the only writer of their rows.

    On entry it reads from the store what had not ended, and what was reported on it meanwhile.
    """

    def __init__(self, store: Store, fleet: Fleet, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._tasks = Tasks()
        self._wanted = asyncio.Event()
        self._numbers = itertools.count()
        self._unsubscribe: list[Callable[[], None]] = []
        self._rows = Rows(store, bus, clock)
        self._sender = Sender(fleet, bus, clock, self._rows)
        self._outstanding = self._sender.outstanding
        self._reported = Reported(self._outstanding.expected)

    async def __aenter__(self) -> Self:
        for row in await self._store.open_commands():
            reports = await self._store.reports(row.id)
            if is_open(row):
                self._sender.add(row, answered=row.status in ("queued", "sent") and bool(reports))
            for report in reports:
                self._note_report(report)
        for robot in self._outstanding.robots():
            if (record := self._fleet.get(robot)) is None or record.retired:
                self._sender.give_up(robot, "the robot has retired")
        self._unsubscribe = [
            self._bus.subscribe(ReportCommitted, lambda committed: self._note_report(committed.report)),
            self._bus.subscribe(RobotRetired, lambda retired: self._withdraw_all(retired.robot, retired.actor)),
        ]
        await self._tasks.__aenter__()
        await self._sender.__aenter__()
        self._tasks.start(self._follow(), "hub.commands.reports")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self._sender.__aexit__(*exc)
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)

    def attach(self, transports: Iterable[Transport]) -> None:
        """Name the transports over which commands go."""
        self._sender.attach(transports)

    # --- what people want

    async def request(self, robot: str, wanted: Wanted, actor: Actor) -> CommandRow:
        """Keep a command, and have it sent. One with an id that is known already gives the command of then.

        Raises CommandRefusedError, KeyError when there is no such robot, and StoreError.
        """
        return await self._tasks.whole(self._request(robot, wanted, actor), f"hub.commands.request {robot}")

    async def _request(self, robot: str, wanted: Wanted, actor: Actor) -> CommandRow:
        record = self._fleet.get(robot)
        if record is None:
            raise KeyError(robot)
        now = self._clock.now()
        row = row_of(robot, wanted, f"cmd-{now:x}-{next(self._numbers):x}", str(actor), now)
        if wanted.id and (known := await self._rows.get(wanted.id)):
            return same(known, row)
        if why := self._takes_none(robot):
            raise CommandRefusedError("conflict", f"robot {robot!r} {why}, so nothing is asked of it")
        with self._outstanding.place(row):
            try:
                await self._rows.add(row, actor)
            except KeyError:  # the same request came twice at once, or the robot was removed meanwhile
                known = await self._rows.get(row.id)
                if known is None:
                    raise CommandRefusedError("conflict", f"command {row.id!r} cannot be kept, try again") from None
                return same(known, row)
            if self._fleet.get(robot) is not record:
                raise CommandRefusedError("conflict", f"robot {robot!r} was removed meanwhile, and the command with it")
            self._sender.add(row)
        if record.retired:
            self._sender.give_up(robot, "the robot has retired")
        return row

    def _takes_none(self, robot: str) -> str | None:
        """Why nothing can be asked of the robot, if so."""
        record = self._fleet.get(robot)
        if record is None or self._fleet.leaving(robot):
            return "is being removed"
        if record.retired:
            return "is retired"
        return None if record.row.accepted else "waits to be accepted"

    async def withdraw(self, robot: str, command: str, actor: Actor) -> CommandRow:
        """Cancel a command that was not sent yet. Raises CommandRefusedError, KeyError and StoreError."""
        return await self._tasks.whole(self._withdraw(robot, command, actor), f"hub.commands.withdraw {command}")

    async def _withdraw(self, robot: str, command: str, actor: Actor) -> CommandRow:
        row = await self._rows.get(command)
        if row is None or row.robot != robot:
            raise KeyError(command)
        if row.status == "cancelled":
            return row
        if row.status != "queued":
            raise _not_queued(row)
        one = self._sender.hold(command)
        if one is None:
            raise CommandRefusedError("conflict", f"command {command!r} is just being sent, or was sent, perhaps")
        try:
            after = await self._rows.move(command, Sign.WITHDRAW, f"cancelled by {actor} before it was sent", actor)
        except BaseException:
            self._sender.release(one)  # it goes on as if nobody had asked
            raise
        if after is None:
            raise KeyError(command)
        self._sender.release(one)
        self._sender.follow(after)
        if after.status != "cancelled":
            raise _not_queued(after)
        return after

    def _withdraw_all(self, robot: str, actor: Actor) -> None:
        self._sender.give_up(robot, f"the robot was retired by {actor}")

    # --- what robots say

    def _note_report(self, row: ReportRow) -> None:
        self._reported.note(row)
        self._wanted.set()

    async def _follow(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._reported:
                await self._follow_one()

    async def _follow_one(self) -> None:
        """Take over what was reported on one command."""
        taken, robot = self._reported.take(), self._reported.overflowed()
        try:
            if taken is not None:
                await self._take_over(taken[0], taken[1], list(taken[2].values()))
                taken = None
            if robot is not None:
                await self._look_through(robot)
        except StoreError as error:
            log.error("what robots report on commands cannot be kept, trying again: %s", error)
            if taken is not None:
                self._reported.put_back(*taken)
            if robot is not None:
                self._reported.overflow(robot)
            await self._clock.sleep(RETRY_AFTER)

    async def _look_through(self, robot: str) -> None:
        """More was reported at once than is kept in memory; the reports are in the store."""
        for row in await self._store.open_commands(robot):
            reports = [said_in(report) for report in await self._store.reports(row.id) if report.robot == robot]
            await self._take_over(robot, row.id, reports)

    async def _take_over(self, robot: str, command: str, reports: Iterable[Said]) -> None:
        def after(row: CommandRow) -> CommandRow:
            if row.robot != robot:
                log.warning("robot %s reports on command %s, which is for robot %s", robot, command, row.robot)
                return row
            for ts, report in reports:
                row = answered(row, report, ts)
            return row

        self._sender.heard(robot, command)
        row = await self._rows.change(command, after, robot_actor(robot))
        if row is not None and row.robot == robot:
            self._sender.follow(row)


def _not_queued(row: CommandRow) -> CommandRefusedError:
    return CommandRefusedError("conflict", f"command {row.id!r} is {row.status}, only queued ones can be cancelled")
