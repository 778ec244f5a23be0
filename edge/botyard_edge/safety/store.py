"""The safety node's files beside the outbox: the latch, replaced as a whole, and the ledger of commands, appended to.

Both are small and block while they are written; the latch on purpose, since nothing may happen before it is on disk.
"""

import contextlib
import errno
import io
import logging
import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from botyard_edge.safety.effects import Cause, Record
from botyard_edge.safety.ledger import REMEMBERED

log = logging.getLogger(__name__)

# Records after which the ledger's file is written anew, without what has been superseded.
FULL = 4 * REMEMBERED

# Writes the ledger's file anew; it is given the lock under which the store is used.
Rewriting = Callable[[AbstractContextManager[Any]], None]

# How often what was noted meanwhile is written after the rest, before it is given up for this time.
ROUNDS = 100


class _Latch(msgspec.Struct):
    causes: list[Cause]


class Store:
    """`path` is the latch's; the ledger is beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger_path = path.with_name(path.name + ".commands")
        self.written = 0
        self._file: io.FileIO | None = None
        self._torn = False
        self._folder_owed = False
        # What is noted while the file is being written anew.
        self._carried: list[bytes] | None = None

    def load(self, now: int) -> tuple[list[Cause], list[Record]]:
        """What an earlier process left. A latch that cannot be read counts as an emergency stop."""
        causes: list[Cause] = []
        try:
            causes = msgspec.json.decode(self.path.read_bytes(), type=_Latch).causes
        except FileNotFoundError:
            pass
        except (OSError, ValueError, msgspec.DecodeError, RecursionError) as error:
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
            self._file = io.FileIO(self.ledger_path, "a")
        line = _line(record)
        if self._carried is not None:
            self._carried.append(line)
        # What a full disk tore off must not make the next one unreadable, too.
        told = b"\n" + line if self._torn else line
        self._torn = True
        if (count := self._file.write(told)) != len(told):
            raise OSError(errno.ENOSPC, f"only {count} of {len(told)} bytes were written", str(self.ledger_path))
        self._torn = False
        self.written += 1

    def sync(self) -> None:
        """Have all records on the disk. Raises OSError. May be called without the lock."""
        if self._folder_owed:
            _sync_folder(self.path.parent)
            self._folder_owed = False
        file = self._file
        if file is not None:
            with contextlib.suppress(ValueError):  # it was written anew meanwhile, and that is on the disk
                os.fsync(file.fileno())

    def rewriting(self, records: Iterable[Record]) -> Rewriting:
        """Begin to write the ledger's file anew, with these records, which are all that it remembers now.

        What this gives is called without the lock, in any thread, and raises OSError. Records that are noted meanwhile
        are in the new file, too, and all of it is on the disk before it takes the old one's place.
        """
        carried: list[bytes] = []
        self._carried = carried

        def write(lock: AbstractContextManager[Any]) -> None:
            try:
                self._write_anew(records, carried, lock)
                _sync_folder(self.path.parent)
                self._folder_owed = False
            finally:
                with lock:
                    if self._carried is carried:
                        self._carried = None
                        self.written = FULL // 2  # it failed: not at the very next record again

        return write

    def _write_anew(self, records: Iterable[Record], carried: list[bytes], lock: AbstractContextManager[Any]) -> None:
        part = self.ledger_path.with_name(self.ledger_path.name + ".part")
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.writelines(_line(record) for record in records)
            for _ in range(ROUNDS):
                file.flush()
                os.fsync(file.fileno())
                with lock:
                    if not carried:
                        part.replace(self.ledger_path)
                        self.close()
                        self._folder_owed, self._torn, self._carried, self.written = True, False, None, 0
                        return
                    lines = carried.copy()
                    carried.clear()
                file.writelines(lines)
        raise OSError(errno.EAGAIN, "more was noted than could be written", str(part))

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
            except (ValueError, msgspec.DecodeError, RecursionError):
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
    _sync_folder(path.parent)


def _line(record: Record) -> bytes:
    return msgspec.json.encode(record) + b"\n"


def _sync_folder(path: Path) -> None:
    """A new name itself must survive a power cut, too."""
    folder = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(folder)
    finally:
        os.close(folder)
