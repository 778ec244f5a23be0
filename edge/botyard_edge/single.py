"""One process at a time for the files of a robot: a second one that is started by mistake must not touch them."""

import fcntl
import logging
import os
from pathlib import Path
from typing import Self

from botyard_edge.outbox import OutboxError
from botyard_schemas.clock import Clock

log = logging.getLogger(__name__)

# Seconds between two looks whether another process has ended.
LOOK = 0.1


class Single:
    """Holds the lock `path` while its `async with` lasts; the lock ends with the process, however that ends.

    Entering waits `patience` seconds for another process to let go of it, and raises OutboxError if it does not. Where
    the file system cannot lock, the robot works all the same, and the outbox's own lock is what is left.
    """

    def __init__(self, path: Path, clock: Clock, *, patience: float = 5.0) -> None:
        self._path = path
        self._clock = clock
        self._patience = patience
        self._file: int | None = None

    async def __aenter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            await self._lock(self._file)
        except OSError as error:
            log.warning("%s cannot be locked, so a second edge of this robot is not kept out: %s", self._path, error)
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._close()

    async def _lock(self, file: int) -> None:
        until = self._clock.monotonic() + self._patience
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if self._clock.monotonic() >= until:
                    raise OutboxError(
                        f"{self._path}: another process runs with this robot's files; does its edge run twice?"
                    ) from None
            await self._clock.sleep(LOOK)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
