"""What robots are to do: kept before it is sent, and sent again until the robot answers or the deadline has passed."""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable, Iterable
from typing import Any, Self

import msgspec

from botyard.commands.life import Sign, answered, is_open, moved
from botyard.commands.request import CommandRefusedError, Wanted, checked, same
from botyard.commands.sender import Sender
from botyard.core.actor import HUB, Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.events import EventNoted, ReportCommitted, RobotLeaving, RobotRetired
from botyard.core.tasks import Tasks
from botyard.fleet.fleet import Fleet
from botyard.plugin.api import Transport
from botyard.store.base import CommandRow, CommandStatus, EventRow, ReportRow, Store, StoreError
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Report, Severity

log = logging.getLogger(__name__)

# Commands with reports that are not looked at yet.
MAX_REPORTED = 10_000
RETRY_AFTER = 1.0
SEVERITIES: dict[CommandStatus, Severity] = {
    "sent": "debug",
    "accepted": "debug",
    "running": "debug",
    "failed": "warning",
    "rejected": "warning",
    "expired": "warning",
    "cancelled": "warning",
}

_report = msgspec.json.Decoder(Report)


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
        self._writing = asyncio.Lock()
        # by robot and command, by status
        self._reported: dict[tuple[str, str], dict[str, ReportRow]] = {}
        self._wanted = asyncio.Event()
        self._numbers = itertools.count()
        self._unsubscribe: list[Callable[[], None]] = []
        self._sender = Sender(fleet, bus, clock, self._move)

    async def __aenter__(self) -> Self:
        for row in await self._store.open_commands():
            for report in await self._store.reports(row.id):
                self._note_report(report)
            if row.status in ("queued", "sent") and (row.robot, row.id) not in self._reported:
                self._sender.add(row)
        self._unsubscribe = [
            self._bus.subscribe(ReportCommitted, lambda committed: self._note_report(committed.report)),
            self._bus.subscribe(RobotLeaving, lambda leaving: self._sender.forget_robot(leaving.robot)),
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
        row = CommandRow(
            id=wanted.id or f"cmd-{now:x}-{next(self._numbers):x}",
            robot=robot,
            name=wanted.name,
            args=wanted.args,
            created=now,
            expires=now + round(wanted.expires_in * 1e6),
            actor=str(actor),
            status="queued",
            changed=now,
        )
        checked(row)
        if wanted.id and (known := await self._store.command(wanted.id)):
            return same(known, row)
        if record.retired or not record.row.accepted:
            why = "is retired" if record.retired else "waits to be accepted"
            raise CommandRefusedError("conflict", f"robot {robot!r} {why}, so nothing is asked of it")
        self._sender.check_room(robot)
        try:
            await self._store.add_command(row)
        except KeyError:  # the same request came twice at once
            known = await self._store.command(row.id)
            if known is None:
                raise CommandRefusedError("conflict", f"command {row.id!r} cannot be kept, try again") from None
            return same(known, row)
        self._tell(row, actor)
        self._sender.add(row)
        return row

    async def withdraw(self, robot: str, command: str, actor: Actor) -> CommandRow:
        """Cancel a command that was not sent yet. Raises CommandRefusedError, KeyError and StoreError."""
        return await self._tasks.whole(self._withdraw(robot, command, actor), f"hub.commands.withdraw {command}")

    async def _withdraw(self, robot: str, command: str, actor: Actor) -> CommandRow:
        row = await self._store.command(command)
        if row is None or row.robot != robot:
            raise KeyError(command)
        if row.status == "cancelled":
            return row
        if row.status != "queued" or not self._sender.hold(command):
            raise CommandRefusedError(
                "conflict", f"command {command!r} is {row.status}, only queued ones can be cancelled"
            )
        reason = f"cancelled by {actor} before it was sent"
        return (
            await self._change(command, lambda now: moved(now, Sign.WITHDRAW, self._clock.now(), reason), actor) or row
        )

    def _withdraw_all(self, robot: str, actor: Actor) -> None:
        self._sender.give_up(robot, f"the robot was retired by {actor}")

    # --- what robots say

    def _note_report(self, row: ReportRow) -> None:
        """Keep a report for `_follow`. Of each status one is enough: the first, or of progress the last."""
        key = row.robot, row.command
        if key not in self._reported and len(self._reported) >= MAX_REPORTED:
            log.error("a report on command %s is left to the next start of the hub, %d wait", row.command, MAX_REPORTED)
            return
        reports = self._reported.setdefault(key, {})
        if row.status == "running" or row.status not in reports:
            reports[row.status] = row
        self._wanted.set()

    async def _follow(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._reported:
                robot, command = key = next(iter(self._reported))
                reports = self._reported.pop(key)
                try:
                    await self._take_over(robot, command, list(reports.values()))
                except StoreError as error:
                    log.error("the status of command %s cannot be kept, trying again: %s", command, error)
                    self._reported[key] = {**self._reported.pop(key, {}), **reports}
                    await self._clock.sleep(RETRY_AFTER)

    async def _take_over(self, robot: str, command: str, reports: list[ReportRow]) -> None:
        def after(row: CommandRow) -> CommandRow:
            if row.robot != robot:
                log.warning("robot %s reports on command %s, which is for robot %s", robot, command, row.robot)
                return row
            for report in reports:
                row = answered(row, _report.decode(report.body), report.ts)
            return row

        self._sender.heard(robot, command)
        await self._change(command, after, robot_actor(robot))

    # --- writing

    async def _move(self, command: str, sign: Sign, reason: str | None = None) -> CommandRow | None:
        """As the sender sees it."""

        def after(row: CommandRow) -> CommandRow:
            now = self._clock.now()
            row = moved(row, sign, now, reason)
            return msgspec.structs.replace(row, sent=now) if sign is Sign.SEND and is_open(row) else row

        return await self._change(command, after, HUB)

    async def _change(
        self, command: str, change: Callable[[CommandRow], CommandRow], actor: Actor
    ) -> CommandRow | None:
        """Bring a command on, in the store and then for everybody; what it is now, None when it is gone."""
        async with self._writing:
            before = await self._store.command(command)
            if before is None:
                return None
            after = change(before)
            if after is before:
                return before
            with contextlib.suppress(KeyError):  # removed with its robot
                await self._store.change_command(after)
        if after.status != before.status:
            self._tell(after, actor)
        return after

    def _tell(self, row: CommandRow, actor: Actor) -> None:
        words = f"{row.name} is {row.status}" + (", after the hub had given it up" if row.late else "")
        event = EventRow(
            ts=self._clock.now(),
            robot=row.robot,
            actor=str(actor),
            name=f"command.{row.status}",
            severity=SEVERITIES.get(row.status, "info"),
            message=f"{words}: {row.reason}" if row.reason else words,
            data={"command": row.id, "name": row.name, "late": row.late},
            cause=row.id,
        )
        self._bus.publish(EventNoted(actor=actor, event=event))
