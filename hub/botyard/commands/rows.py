"""Commands' rows. Each change is one transaction with the event that tells of it, so that neither is without the
other, whenever the hub ends."""

import asyncio
from collections.abc import Callable

import msgspec

from botyard.commands.life import Sign, is_open, moved
from botyard.core.actor import HUB, Actor
from botyard.core.bus import Bus
from botyard.core.events import EventCommitted
from botyard.store.base import CommandRow, CommandStatus, Committed, EventRow, Store, StoredEvent
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Severity

SEVERITIES: dict[CommandStatus, Severity] = {
    "sent": "debug",
    "accepted": "debug",
    "running": "debug",
    "failed": "warning",
    "rejected": "warning",
    "expired": "warning",
    "cancelled": "warning",
}


class Rows:
    """The only writer of commands' rows."""

    def __init__(self, store: Store, bus: Bus, clock: Clock) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._writing = asyncio.Lock()

    async def get(self, command: str) -> CommandRow | None:
        """The command with this id. Raises StoreError."""
        return await self._store.command(command)

    async def add(self, row: CommandRow, actor: Actor) -> None:
        """Keep a new one. Raises KeyError when the id is taken or the robot is gone, and StoreError."""
        event = self._event(row, actor)
        self._tell(await self._store.add_command(row, event), event, actor)

    async def move(self, command: str, sign: Sign, reason: str | None = None, actor: Actor = HUB) -> CommandRow | None:
        """As `change`, for what the hub did or noticed."""

        def after(row: CommandRow) -> CommandRow:
            now = self._clock.now()
            row = moved(row, sign, now, reason)
            return msgspec.structs.replace(row, sent=now) if sign is Sign.SEND and is_open(row) else row

        return await self.change(command, after, actor)

    async def change(self, command: str, change: Callable[[CommandRow], CommandRow], actor: Actor) -> CommandRow | None:
        """Bring a command on, in the store and then for everybody; what it is now, None when it is gone. Raises
        StoreError."""
        async with self._writing:
            before = await self._store.command(command)
            if before is None:
                return None
            after = change(before)
            if after is before:
                return before
            event = self._event(after, actor) if after.status != before.status else None
            try:
                committed = await self._store.change_command(after, event)
            except KeyError:  # removed with its robot
                return None
            if event is not None:
                self._tell(committed, event, actor)
            return after

    def _event(self, row: CommandRow, actor: Actor) -> EventRow:
        words = f"{row.name} is {row.status}" + (", after the hub had given it up" if row.late else "")
        return EventRow(
            ts=self._clock.now(),
            robot=row.robot,
            actor=str(actor),
            name=f"command.{row.status}",
            severity=SEVERITIES.get(row.status, "info"),
            message=f"{words}: {row.reason}" if row.reason else words,
            data={"command": row.id, "name": row.name, "late": row.late},
            cause=row.id,
        )

    def _tell(self, committed: Committed, event: EventRow, actor: Actor) -> None:
        (event_id,) = committed.event_ids
        stored = StoredEvent(id=event_id, **{name: getattr(event, name) for name in event.__struct_fields__})
        self._bus.publish(EventCommitted(actor=actor, event=stored))
