"""Robots' rows on their way to the store: what people change at once, what robots change as soon as it is possible."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from botyard.fleet.record import RobotRecord
from botyard.store.base import RobotRow, Store, StoreError
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

RETRY = 1.0


class Rows:
    """Writes rows one after the other, or an older one may win."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._changing = asyncio.Lock()
        self._wanted = asyncio.Event()
        self.unsaved: dict[str, RobotRow] = {}

    async def change(self, record: RobotRecord, changes: Mapping[str, Any]) -> tuple[RobotRow, RobotRow]:
        """Change what people decide, first in the store; gives it before and after. Raises KeyError and StoreError."""
        async with self._changing:
            before = record.row
            row = msgspec.structs.replace(before, **changes)
            await self._store.change_robot(row)
            if record.row is before:
                record.row = row
                self.unsaved.pop(row.id, None)
            else:  # the robot changed it meanwhile
                self.change_later(record, changes)
            return before, row

    def change_later(self, record: RobotRecord, changes: Mapping[str, Any]) -> None:
        """Change what the robot itself decides, here at once and in the store when it takes it."""
        row = record.row = msgspec.structs.replace(record.row, **changes)
        self.unsaved[row.id] = row
        self._wanted.set()

    def forget(self, robot: str) -> None:
        """There is nothing to save any more."""
        self.unsaved.pop(robot, None)

    async def run(self) -> None:
        """Save what robots changed, for ever."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            failed = False
            while self.unsaved:
                try:
                    async with self._changing:
                        await self._save_one()
                except StoreError as error:
                    if not failed:
                        log.warning("what robots say of themselves is not saved yet: %s", error)
                    failed = True
                    await self._clock.sleep(RETRY)

    async def _save_one(self) -> None:
        robot, row = next(iter(self.unsaved.items()), (None, None))
        if robot is None or row is None:
            return
        with contextlib.suppress(KeyError):  # removed in the meantime
            await self._store.change_robot(row)
        if self.unsaved.get(robot) is row:
            del self.unsaved[robot]
