"""The file of a durable outbox: SQLite with a write-ahead log, synced on every commit.

Nothing here knows the event loop; every method blocks, and all are called from one thread.
"""

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from botyard_edge.notices import Notice, read_notice
from botyard_edge.outbox import Entry, OutboxError
from botyard_edge.ranges import Span, minus
from botyard_edge.renumbering import renumbered
from botyard_edge.retention import Need, Row, expired, victims

VERSION = 1
MAX_SEQ = 2**63 - 1

_TABLES = """
CREATE TABLE meta (
    robot TEXT NOT NULL, epoch TEXT NOT NULL, next INTEGER NOT NULL, acknowledged INTEGER NOT NULL,
    dropped INTEGER NOT NULL, clean INTEGER NOT NULL
);
CREATE TABLE message (
    seq INTEGER PRIMARY KEY, type TEXT NOT NULL, ts INTEGER NOT NULL, stream INTEGER NOT NULL,
    keep INTEGER NOT NULL, notice INTEGER NOT NULL, payload BLOB NOT NULL, sum INTEGER NOT NULL
);
"""

_SELECT = "SELECT seq, type, payload, ts, stream, keep, notice, sum FROM message"


class BrokenFileError(Exception):
    """The file is not the whole outbox of this robot; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file held when it was opened. `clean` says whether its last user wrote down everything, and `created` that
    there was none before."""

    epoch: str
    next: int
    acknowledged: int
    dropped: int
    clean: bool
    held: list[Span]
    bytes: int
    notices: list[Notice]
    created: bool


@dataclass(frozen=True, slots=True)
class Work:
    """What one transaction writes: the state of the outbox, what is new, and which numbers to delete.

    `carried` is None within an epoch. Otherwise `epoch` begins: those numbers of the one before become 1, 2, 3 ... of
    it, and all others are deleted, before anything else is done.
    """

    epoch: str
    next: int
    acknowledged: int
    dropped: int
    clean: bool = False
    carried: list[Span] | None = None
    entries: list[Entry] = field(default_factory=list)
    doomed: list[Span] = field(default_factory=list)


class OutboxFile:
    """One open file, at most one user at a time."""

    def __init__(self, path: Path, robot: str, patience: float) -> None:
        self.path = path
        self._patience = patience
        self._robot = robot
        self._db: sqlite3.Connection | None = None

    def open(self, epoch: str, *, start: int = 1, acknowledged: int = 0) -> Loaded:
        """Open the file, or make it with this epoch, whose next number is `start` and of which so much is acknowledged.

        Waits `patience` seconds for another process to let go of it. Raises BrokenFileError, OutboxError when another
        process has it open, and sqlite3.Error or OSError when the disk does not allow it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(self.path, timeout=self._patience, isolation_level=None, check_same_thread=False)
            return self._load(self._db, (epoch, start, acknowledged))
        except sqlite3.Error as error:
            self.close()
            raise _told(error, self.path) from error
        except (ValueError, TypeError, KeyError) as error:  # as text that is not UTF-8
            self.close()
            raise BrokenFileError(f"it cannot be read: {error}") from error
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file, if it is open."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    def set_aside(self, name: str) -> Path:
        """Rename the file and what belongs to it, so that a new one can be made; gives the new path."""
        self.close()
        target = self.path.with_name(f"{self.path.name}.{name}")
        for suffix in ("-wal", "-shm", "-journal"):
            part = self.path.with_name(self.path.name + suffix)
            if part.exists():
                part.replace(target.with_name(target.name + suffix))
        if self.path.exists():
            self.path.replace(target)
        return target

    def commit(self, work: Work) -> tuple[int, int]:
        """Write durably, all or nothing; gives by how much messages and bytes have grown. Raises sqlite3.Error."""
        db = self._connection
        db.execute("BEGIN IMMEDIATE")
        try:
            moved = (0, 0) if work.carried is None else self._renumber(db, work.epoch, work.carried)
            rows, size = self._delete(db, [(0, work.acknowledged), *work.doomed])
            db.executemany(
                "INSERT OR REPLACE INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(e.seq, e.type, e.ts, e.stream, e.keep, e.notice, e.payload, _sum(e)) for e in work.entries],
            )
            db.execute(
                "UPDATE meta SET epoch = ?, next = ?, acknowledged = ?, dropped = ?, clean = ?",
                (work.epoch, work.next, work.acknowledged, work.dropped, work.clean),
            )
            db.execute("COMMIT")
        except BaseException:
            # After some errors, as a full disk, SQLite has rolled back already.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        return len(work.entries) - rows - moved[0], sum(len(e.payload) for e in work.entries) - size - moved[1]

    def read(self, after: int, limit: int) -> tuple[list[Entry], list[int]]:
        """The oldest messages with a larger number than `after`, and the numbers of those that are damaged.

        Raises sqlite3.Error.
        """
        with _damage_is_told():
            rows = self._connection.execute(f"{_SELECT} WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
            entries = [(_entry(row), row[-1]) for row in rows]
        whole = [entry for entry, known in entries if _sum(entry) == known]
        return whole, [entry.seq for entry, known in entries if _sum(entry) != known]

    def victims(self, need: Need, interval: float, after: int) -> list[int]:
        """What the policy gives up of what is in the file beyond `after`. Raises sqlite3.Error."""
        with _damage_is_told():
            return victims(lambda: self._rows(after), need, interval)

    def older(self, ts: int, after: int) -> list[int]:
        """Telemetry and repeated states made before `ts`. Raises sqlite3.Error."""
        with _damage_is_told():
            return expired(self._rows(after), ts)

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise sqlite3.OperationalError("the outbox's file is not open")
        return self._db

    def _rows(self, after: int) -> Iterator[Row]:
        query = "SELECT seq, type, ts, length(payload), stream FROM message WHERE seq > ? AND NOT keep AND NOT notice"
        for row in self._connection.execute(f"{query} ORDER BY seq", (after,)):
            yield Row(*row)

    def _delete(self, db: sqlite3.Connection, spans: list[Span]) -> tuple[int, int]:
        rows = size = 0
        for span in spans:
            query = "SELECT count(*), COALESCE(SUM(length(payload)), 0) FROM message WHERE seq BETWEEN ? AND ?"
            found = db.execute(query, span).fetchone()
            if found[0]:
                rows, size = rows + found[0], size + found[1]
                db.execute("DELETE FROM message WHERE seq BETWEEN ? AND ?", span)
        return rows, size

    def _renumber(self, db: sqlite3.Connection, epoch: str, carried: list[Span]) -> tuple[int, int]:
        """Begin an epoch with these messages, and without all others; gives by how much it has shrunk."""
        rows, size = self._delete(db, minus([(0, MAX_SEQ)], carried))
        start = 1
        for first, last in carried:
            # A number only ever becomes smaller, so in this order none is taken.
            for (seq,) in db.execute("SELECT seq FROM message WHERE seq BETWEEN ? AND ?", (first, last)).fetchall():
                with _damage_is_told():
                    row = db.execute(f"{_SELECT} WHERE seq = ?", (seq,)).fetchone()
                    old, target = _entry(row), start + seq - first
                    new, whole = _renumbered(old, epoch, target) if _sum(old) == row[-1] else (None, False)
                    new = new or replace(old, seq=target)
                db.execute(
                    "UPDATE message SET seq = ?, keep = ?, notice = ?, payload = ?, sum = ? WHERE seq = ?",
                    # What is damaged stays so, and is found when it is read.
                    (new.seq, new.keep, new.notice, new.payload, _sum(new) ^ (not whole), seq),
                )
                size += len(old.payload) - len(new.payload)
            start += last - first + 1
        return rows, size

    def _load(self, db: sqlite3.Connection, begun: tuple[str, int, int]) -> Loaded:
        # One user: no other process may write in between, and the index of the log stays in memory, not in a file.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise BrokenFileError(f"it says that it is of version {version}, this edge knows {VERSION}")
        # Before the log is switched on: that change goes by way of a journal file. Were its deletion not synced too, a
        # power cut could bring it back, and the next start would undo the change and with it everything since.
        db.execute("PRAGMA synchronous = EXTRA")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        if version == 0:
            self._create(db, *begun)
        db.execute("COMMIT")
        found = db.execute("SELECT robot, epoch, next, acknowledged, dropped, clean FROM meta").fetchall()
        if len(found) != 1:
            raise BrokenFileError(f"it has {len(found)} rows about itself, expected 1")
        robot, known, following, acknowledged, dropped, clean = found[0]
        if robot != self._robot:
            raise BrokenFileError(f"it is the outbox of robot {robot!r}")
        if not clean:
            problem = db.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise BrokenFileError(str(problem))
        return self._contents(db, (known, following, acknowledged, dropped, bool(clean)), created=version == 0)

    def _create(self, db: sqlite3.Connection, epoch: str, start: int, acknowledged: int) -> None:
        if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise BrokenFileError("it is a database of something else")
        for statement in _TABLES.split(";"):
            db.execute(statement)
        meta = (self._robot, epoch, start, acknowledged, start == 1)
        db.execute("INSERT INTO meta VALUES (?, ?, ?, ?, 0, ?)", meta)
        db.execute(f"PRAGMA user_version = {VERSION}")

    def _contents(self, db: sqlite3.Connection, meta: tuple[str, int, int, int, bool], *, created: bool) -> Loaded:
        held: list[Span] = []
        size = 0
        for seq, length in db.execute("SELECT seq, length(payload) FROM message ORDER BY seq"):
            size += length
            if held and held[-1][1] == seq - 1:
                held[-1] = (held[-1][0], seq)
            else:
                held.append((seq, seq))
        notices = [read_notice(_entry(row)) for row in db.execute(f"{_SELECT} WHERE notice ORDER BY seq")]
        return Loaded(*meta, held, size, notices, created)


def _entry(row: tuple[int, str, bytes, int, int, int, int, int]) -> Entry:
    seq, kind, payload, ts, stream, keep, notice, _ = row
    return Entry(seq, kind, bytes(payload), int(ts), stream, bool(keep), bool(notice))


def _renumbered(entry: Entry, epoch: str, seq: int) -> tuple[Entry | None, bool]:
    try:
        return renumbered(entry, epoch, seq), True
    except ValueError:
        return None, False  # it cannot be read: as one that is damaged


def _sum(entry: Entry) -> int:
    """SQLite does not notice when bits of a message turn over, and the hub could not even say which one it was."""
    return zlib.crc32(entry.payload, zlib.crc32(f"{entry.seq} {entry.type}".encode()))


@contextmanager
def _damage_is_told() -> Iterator[None]:
    """Values of a type that was never written say that the file is broken, as SQLite itself would."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        broken = sqlite3.DatabaseError(f"it holds what was never written: {error}")
        broken.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        raise broken from error


def _told(error: sqlite3.Error, path: Path) -> Exception:
    """The error as the outbox treats it: broken, in use, or a disk that does not allow it now."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BrokenFileError(str(error))
    if code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return OutboxError(f"{path}: another process uses this outbox; does the robot's edge run twice?")
    if code is None or code & 0xFF == sqlite3.SQLITE_ERROR:
        return BrokenFileError(str(error))  # as a table that is missing
    return error


def is_broken(error: sqlite3.Error) -> bool:
    """Whether the file's content is at fault, and not the disk."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
