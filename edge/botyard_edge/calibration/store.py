"""The history's file beside the outbox: replaced as a whole, and the one before it is kept, so that whatever happens
while it is written the last good one is there. Its first line is the SHA-256 of the rest, against a disk that forgets.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import threading
from pathlib import Path

import msgspec

from botyard_edge.calibration.history import KEPT, History
from botyard_schemas.calibration import Profile

log = logging.getLogger(__name__)


class _File(msgspec.Struct):
    profiles: dict[str, list[Profile]]


class Store:
    """Blocks while it reads and writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = path.with_name(path.name + ".before")
        self._good = False
        self._lock: int | None = None
        self._saving = threading.Lock()  # whoever waits for a save may be cancelled, while its thread goes on

    def lock(self) -> bool:
        """Be the only one that writes, until `close`; whether nobody else is. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(
            self.path.with_name(self.path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Let others write."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self, keep: int = KEPT) -> tuple[History, str | None]:
        """What is kept, and a sentence when the file could not be read and an older one, or nothing, counts instead."""
        trouble: str | None = None
        for path in (self.path, self.before):
            try:
                history = _decoded(path.read_bytes(), keep)
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                log.error("%s cannot be read: %s", path, error)
                trouble = trouble or f"{path.name} cannot be read: {error}"
            else:
                self._good = path is self.path
                return history, trouble and f"{trouble}; the calibration of before its last change is applied"
        return History(keep=keep), trouble and f"{trouble}; nothing is calibrated"

    def save(self, history: History) -> None:
        """Have the history on the disk when this returns. Raises OSError, and then what was there before counts."""
        content = msgspec.json.encode(_File({name: list(versions) for name, versions in history.versions.items()}))
        with self._saving:
            self._replace(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)

    def _replace(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if self._good:  # and else the one of before is the good one
            self._good = False
            self.path.replace(self.before)
        part.replace(self.path)
        self._good = True
        # The new names themselves must survive a power cut, too.
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some file systems cannot
                os.fsync(folder)
        finally:
            os.close(folder)


def _decoded(content: bytes, keep: int) -> History:
    """Raises ValueError."""
    checksum, _, rest = content.partition(b"\n")
    if hashlib.sha256(rest).hexdigest().encode() != checksum:
        raise ValueError("its checksum does not match, so it is torn or was changed")
    loaded = msgspec.json.decode(rest, type=_File)
    return History({name: tuple(versions) for name, versions in loaded.profiles.items() if versions}, keep)
