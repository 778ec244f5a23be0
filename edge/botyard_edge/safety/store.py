"""The safety node's files beside the outbox: the latch, replaced as a whole, and the ledger of commands, appended to.

Both are small and block while they are written; the latch on purpose, since nothing may happen before it is on disk.
"""

import contextlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from botyard_edge.safety.effects import Cause, Record
from botyard_edge.safety.ledger import REMEMBERED

log = logging.getLogger(__name__)

# Records after which the ledger's file is written anew, without what has been superseded.
FULL = 4 * REMEMBERED


class _Latch(msgspec.Struct):
    causes: list[Cause]


class Store:
    """`path` is the latch's; the ledger is beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger_path = path.with_name(path.name + ".commands")
        self.written = 0
        self._file: BinaryIO | None = None

    def load(self, now: int) -> tuple[list[Cause], list[Record]]:
        """What an earlier process left. A latch that cannot be read counts as an emergency stop."""
        causes: list[Cause] = []
        try:
            causes = msgspec.json.decode(self.path.read_bytes(), type=_Latch).causes
        except FileNotFoundError:
            pass
        except (OSError, msgspec.DecodeError) as error:
            log.error("%s cannot be read, which counts as an emergency stop: %s", self.path, error)
            reason = f"the latch's file {self.path.name} cannot be read, so an emergency stop may have been set"
            causes = [Cause("estop", "latch", "file", reason, now, latched=True, active=False)]
        return causes, list(self._records())

    def keep(self, causes: Iterable[Cause]) -> None:
        """Have these causes on the disk when this returns. Raises OSError."""
        _replace(self.path, msgspec.json.encode(_Latch(list(causes))))

    def note(self, record: Record) -> None:
        """Hand a record to the operating system: it survives the process, and after `sync` a power cut. Raises
        OSError."""
        if self._file is None:
            self.ledger_path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.ledger_path.open("ab", buffering=0)
        self._file.write(msgspec.json.encode(record) + b"\n")
        self.written += 1

    def sync(self) -> None:
        """Have all records on the disk. Raises OSError."""
        file = self._file
        if file is not None:
            with contextlib.suppress(ValueError):  # it was written anew meanwhile, and that is on the disk
                os.fsync(file.fileno())

    def compact(self, records: Iterable[Record]) -> None:
        """Write the ledger anew with these records alone. Raises OSError."""
        self.close()
        self.written = 0
        _replace(self.ledger_path, b"".join(msgspec.json.encode(record) + b"\n" for record in records))

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _records(self) -> Iterable[Record]:
        try:
            lines = self.ledger_path.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            log.error("%s cannot be read, so a command that is sent again may be executed twice: %s", self.path, error)
            return
        bad = 0
        for line in lines:
            try:
                yield msgspec.json.decode(line, type=dict)
            except msgspec.DecodeError:
                bad += 1  # the last one may be torn by a power cut: what it was about had not begun
        if bad > 1:
            log.warning("%d lines of %s cannot be read and are passed over", bad, self.ledger_path)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    # The new name itself must survive a power cut, too.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(folder)
    finally:
        os.close(folder)
