"""The process that writes to SQLite, and the only one that does: `python -m botyard.store.sqlite_writer <database>`.

It is a process because SQLite in a thread beside a busy event loop starves on the interpreter lock. One request is one
transaction, durable before it is answered. It ends when its stdin closes, so a killed hub leaves none behind.
"""

import contextlib
import fcntl
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import msgspec

from botyard.store import frames
from botyard.store.compaction import Plan
from botyard.store.frames import Answer, Mark, Request
from botyard.store.sqlite_ledger import Ledger
from botyard.store.sqlite_process import REFUSALS, Refused, arguments, connect, sentence, serve

NEW = Path(__file__).with_name("new.sql")  # generated from the migrations, which a new file need not go through
LOCK_WAIT = 5.0  # seconds that a new hub waits for the last one's writer to finish what it was given
SLICE = 5000  # rows that one step of `purge` deletes, so that commits never wait long
INSERT_BLOCK = 'INSERT INTO block (shard, start, "end", messages, data) VALUES (?, ?, ?, ?, ?)'
INSERT_CHUNK = """INSERT INTO chunk (robot, start, "end", rows, samples, small, channels, data)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""
INSERT_ROLLUP = "INSERT INTO rollup (robot, width, start, buckets, part, data) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_PROGRESS = "INSERT INTO progress (data) VALUES (CAST(? AS TEXT))"
FOLD_AFTER = 128  # commits: a position is written to its own place this much less often than it changes
INSERT_EVENT = """INSERT INTO event (ts, robot, actor, name, severity, message, data, cause, epoch, seq)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
INSERT_REPORT = (
    "INSERT INTO report (ts, robot, command, status, body, epoch, seq) VALUES (?, ?, ?, ?, CAST(? AS TEXT), ?, ?)"
)
UPSERT_STATE = """INSERT INTO robot_state (robot, ts, body) VALUES (?, ?, CAST(? AS TEXT))
    ON CONFLICT (robot) DO UPDATE SET ts = excluded.ts, body = excluded.body"""
INSERT_QUARANTINE = """INSERT INTO quarantine (received, robot, topic, reason, detail, size, payload)
    VALUES (?, ?, ?, ?, ?, ?, ?)"""
TRIM_QUARANTINE = """SELECT id FROM quarantine WHERE robot IS ?1 AND id <=
    (SELECT id FROM quarantine WHERE robot IS ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"""
# The ids of a robot's epochs are in the order of their last use, also of one that comes back after others.
UPSERT_POSITION = """INSERT INTO position (robot, epoch, seq, beyond) VALUES (?, ?, ?, ?)
    ON CONFLICT (robot, epoch) DO UPDATE SET seq = excluded.seq, beyond = excluded.beyond, id = CASE
        WHEN EXISTS (SELECT 1 FROM position AS other WHERE other.robot = position.robot AND other.id > position.id)
        THEN (SELECT max(id) + 1 FROM position) ELSE position.id END"""
EPOCHS = "SELECT id, epoch FROM position WHERE robot = ? ORDER BY id DESC LIMIT -1 OFFSET ?"
UPSERT_MARK = """INSERT INTO mark (id, session, n, answer) VALUES (1, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET session = excluded.session, n = excluded.n, answer = excluded.answer"""
UPSERT_SERIES = """INSERT INTO series (robot, channel, type, unit, last_ts, last_value) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (robot, channel) DO UPDATE SET type = excluded.type, unit = excluded.unit,
        last_value = CASE WHEN excluded.last_ts >= last_ts THEN excluded.last_value ELSE last_value END,
        last_ts = max(last_ts, excluded.last_ts)"""
INSERT_ROBOT = """INSERT INTO robot (id, created, name, type, "group", tags, notes, accepted, retired)
    VALUES (:id, :created, :name, :type, :group, :tags, :notes, :accepted, :retired)"""
UPDATE_ROBOT = """UPDATE robot SET created = :created, name = :name, type = :type, "group" = :group, tags = :tags,
    notes = :notes, accepted = :accepted, retired = :retired WHERE id = :id"""
# What a robot sent, apart from its blocks, which are compacted before. Events about it that came from elsewhere stay:
# they are the audit trail.
COUNTED_PURGES = {
    "chunk": "SELECT id FROM chunk WHERE robot = ? LIMIT ? / 100",
    "rollup": "SELECT id FROM rollup WHERE robot = ? LIMIT ? / 10",
    "event": "SELECT id FROM event WHERE robot = ? AND epoch IS NOT NULL LIMIT ?",
    "report": "SELECT id FROM report WHERE robot = ? LIMIT ?",
    "quarantine": "SELECT id FROM quarantine WHERE robot = ? LIMIT ?",
}
PURGES = (
    "DELETE FROM series WHERE id IN (SELECT id FROM series WHERE robot = ? LIMIT ?)",
    "DELETE FROM robot_state WHERE robot IN (SELECT robot FROM robot_state WHERE robot = ? LIMIT ?)",
    "DELETE FROM command WHERE id IN (SELECT id FROM command WHERE robot = ? LIMIT ?)",
)
INSERT_COMMAND = """INSERT INTO command
    (command, robot, name, args, created, expires, actor, status, changed, reason, progress, sent, answered, late)
    VALUES (:id, :robot, :name, :args, :created, :expires, :actor, :status, :changed, :reason, :progress, :sent,
        :answered, :late)"""
UPDATE_COMMAND = """UPDATE command SET status = :status, changed = :changed, reason = :reason, progress = :progress,
    sent = :sent, answered = :answered, late = :late WHERE command = :id"""
KEPT_COMMANDS = 1000  # of each robot, beside those that have not ended
TRIM_COMMANDS = """DELETE FROM command WHERE robot = ?1 AND status NOT IN ('queued', 'sent', 'accepted', 'running')
    AND id <= (SELECT id FROM command WHERE robot = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)"""
NOTE_SIZE = "INSERT INTO size (ts, bytes) VALUES (?, ?) ON CONFLICT (ts) DO UPDATE SET bytes = excluded.bytes"
FORGET_SIZES = "DELETE FROM size WHERE ts < ? OR ts > ?"  # the clock may have been ahead


class NotThere(Exception):  # noqa: N818 - an outcome
    """There is no robot of this id, or there is one already."""


class Options(msgspec.Struct, frozen=True):
    """`session` names the life of one store, so that its requests are told from an earlier one's."""

    session: str = ""
    quarantine_limit: int = 1000
    max_size: int | None = None  # bytes
    durable: bool = True  # against a power cut, and not only against the end of the process


class Writer:
    """One connection."""

    def __init__(self, path: Path, options: Options) -> None:
        self._path = path
        self._options = options
        self._open = contextlib.ExitStack()
        self._db: sqlite3.Connection
        self._ledger: Ledger
        self._unfolded = 0
        self._ops: dict[str, Callable[[bytes], Any]] = {
            "commit": self._commit,
            "compact": self._compact,
            "add_robot": self._add_robot,
            "change_robot": self._change_robot,
            "add_command": self._add_command,
            "change_command": self._change_command,
            "purge": self._purge,
            "count": lambda _body: self._ledger.count(),
            "expire": lambda body: self._ledger.expire(*msgspec.msgpack.decode(body)),
            "give_back": lambda _body: self._ledger.give_back(),
            "note_size": self._note_size,
        }

    def open(self) -> bytes:
        """Lock and open the database; tells what of this session is in it already. Raises Refused."""
        self._open.enter_context(lock(self._path))
        self._db = connect(
            self._path,
            busy_timeout=10_000,
            auto_vacuum="INCREMENTAL",  # of a new file, so that what is deleted can be given back in small steps
            journal_mode="WAL",
            synchronous="FULL" if self._options.durable else "OFF",
            foreign_keys="ON",
            journal_size_limit=64 << 20,
        )
        self._open.callback(self._db.close)
        self._ledger = Ledger(self._db)
        try:
            if self._options.max_size is not None:
                (page,) = self._db.execute("PRAGMA page_size").fetchone()
                self._db.execute(f"PRAGMA max_page_count={max(1, self._options.max_size // int(page))}")
            if not self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
                self._db.executescript(f"BEGIN IMMEDIATE; {NEW.read_text(encoding='utf-8')} COMMIT")
            found = (
                self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'mark'").fetchone()
                and self._db.execute(
                    "SELECT n, answer FROM mark WHERE session = ?", (self._options.session,)
                ).fetchone()
            )
        except sqlite3.Error as error:
            raise Refused(sentence(self._path, error)) from error
        return msgspec.msgpack.encode(Mark(*found) if found else None)

    def close(self) -> None:
        """Close the database and give the lock back, where the process does not end."""
        self._open.close()

    def answer(self, request: Request) -> Answer:
        """Do what is asked in one transaction, all or nothing, and remember in it that it was done."""
        if request.op == "ping":
            return Answer(request.n, frames.OK, b"")
        try:
            self._db.execute("BEGIN IMMEDIATE")
            body = msgspec.msgpack.encode(self._ops[request.op](request.body))
            self._ledger.settle()
            self._db.execute(UPSERT_MARK, (self._options.session, request.n, body))
            self._db.execute("COMMIT")
        except NotThere as error:
            self._roll_back()
            return Answer(request.n, frames.KEY, str(error).encode())
        except REFUSALS as error:
            self._roll_back()
            return Answer(request.n, frames.FAILED, sentence(self._path, error).encode(errors="replace"))
        return Answer(request.n, frames.OK, body)

    def _roll_back(self) -> None:
        self._ledger.forget()
        if self._db.in_transaction:  # some errors have rolled back already
            self._db.execute("ROLLBACK")

    def _commit(self, body: bytes) -> list[int]:
        """Everything of a batch; gives the ids of its events."""
        batch: dict[str, Any] = msgspec.msgpack.decode(body)
        db = self._db
        db.executemany(INSERT_BLOCK, batch["blocks"])
        self._ledger.insert("report", INSERT_REPORT, batch["reports"])
        db.executemany(UPSERT_STATE, batch["states"])
        if progress := batch["progress"]:
            db.execute(INSERT_PROGRESS, (progress,))
            self._unfolded += 1
            if self._unfolded >= FOLD_AFTER:
                self._fold()
        if quarantine := batch["quarantine"]:
            self._ledger.insert("quarantine", INSERT_QUARANTINE, quarantine)
            for robot in {row[1] for row in quarantine}:
                too_many = db.execute(TRIM_QUARANTINE, (robot, self._options.quarantine_limit)).fetchall()
                self._ledger.delete("quarantine", [n for (n,) in too_many])
        return self._ledger.insert("event", INSERT_EVENT, batch["events"])

    def _fold(self) -> None:
        """Bring the positions of the last commits to their place."""
        latest: dict[tuple[str, str], tuple[str, str, int, str]] = {}
        for (data,) in self._db.execute("SELECT data FROM progress ORDER BY id"):
            for robot, epoch, seq, beyond in msgspec.json.decode(data):
                latest.pop((robot, epoch), None)  # those that were used last come last
                latest[robot, epoch] = robot, epoch, seq, msgspec.json.encode(beyond).decode()
        (before,) = self._db.execute("SELECT coalesce(max(id), 0) FROM position").fetchone()
        self._db.executemany(UPSERT_POSITION, latest.values())
        self._db.execute("DELETE FROM progress")
        self._unfolded = 0
        for (robot,) in self._db.execute("SELECT DISTINCT robot FROM position WHERE id > ?", (before,)).fetchall():
            rows = self._db.execute(EPOCHS, (robot, frames.KEPT_EPOCHS))
            old = [(n,) for n, epoch in rows if (robot, epoch) not in latest]
            self._db.executemany("DELETE FROM position WHERE id = ?", old[-frames.EPOCHS_AT_ONCE :])

    def _compact(self, body: bytes) -> bool:
        """Carry out a plan; False when what it is made of is no longer there, and nothing is changed then."""
        plan = msgspec.msgpack.decode(body, type=Plan)
        db = self._db
        gone = db.executemany("DELETE FROM block WHERE id = ?", [(n,) for n in plan.blocks])
        if plan.blocks and gone.rowcount != len(plan.blocks):
            raise NotThere(f"{len(plan.blocks) - gone.rowcount} rows of block")
        for table, ids in (("chunk", plan.old_chunks), ("rollup", plan.old_rollups)):
            if missing := len(ids) - self._ledger.delete(table, ids):
                raise NotThere(f"{missing} rows of {table}")
        self._ledger.insert("chunk", INSERT_CHUNK, [msgspec.structs.astuple(chunk) for chunk in plan.chunks])
        self._ledger.insert("rollup", INSERT_ROLLUP, [msgspec.structs.astuple(rollup) for rollup in plan.rollups])
        db.executemany(UPSERT_SERIES, map(msgspec.structs.astuple, plan.newest))
        return True

    def _add_robot(self, body: bytes) -> None:
        robot = msgspec.msgpack.decode(body)
        if self._db.execute("SELECT 1 FROM robot WHERE id = ?", (robot["id"],)).fetchone():
            raise NotThere(robot["id"])
        self._db.execute(INSERT_ROBOT, robot)

    def _change_robot(self, body: bytes) -> None:
        robot = msgspec.msgpack.decode(body)
        if self._db.execute(UPDATE_ROBOT, robot).rowcount == 0:
            raise NotThere(robot["id"])

    def _add_command(self, body: bytes) -> list[int]:
        command, events = msgspec.msgpack.decode(body)
        taken = self._db.execute("SELECT 1 FROM command WHERE command = ?", (command["id"],)).fetchone()
        if taken or not self._db.execute("SELECT 1 FROM robot WHERE id = ?", (command["robot"],)).fetchone():
            raise NotThere(command["id"])
        self._db.execute(INSERT_COMMAND, command)
        self._db.execute(TRIM_COMMANDS, (command["robot"], KEPT_COMMANDS))
        return self._ledger.insert("event", INSERT_EVENT, events)

    def _change_command(self, body: bytes) -> list[int]:
        command, events = msgspec.msgpack.decode(body)
        if self._db.execute(UPDATE_COMMAND, command).rowcount == 0:
            raise NotThere(command["id"])
        return self._ledger.insert("event", INSERT_EVENT, events)

    def _purge(self, body: bytes) -> bool:
        """Delete a slice of what a robot sent, and at last the robot; True while there is more to do."""
        robot: str = msgspec.msgpack.decode(body)
        db = self._db
        if not db.execute("SELECT 1 FROM robot WHERE id = ?", (robot,)).fetchone():
            raise NotThere(robot)
        for table, statement in COUNTED_PURGES.items():
            if found := db.execute(statement, (robot, SLICE)).fetchall():
                self._ledger.delete(table, [n for (n,) in found])
                return True
        for statement in PURGES:
            if db.execute(statement, (robot, SLICE)).rowcount:
                return True
        db.execute("DELETE FROM robot WHERE id = ?", (robot,))
        return False

    def _note_size(self, body: bytes) -> None:
        ts, size, oldest = msgspec.msgpack.decode(body)
        self._db.execute(NOTE_SIZE, (ts, size))
        self._db.execute(FORGET_SIZES, (oldest, ts))


def lock(path: Path) -> TextIO:
    """Take the lock beside the database, which the system gives back when this process ends. Raises Refused."""
    try:
        file = Path(f"{path}.lock").open("a")  # noqa: SIM115 - held until the process ends
    except OSError as error:
        raise Refused(f"{path}: cannot be opened: {error.strerror}") from error
    give_up = time.monotonic() + LOCK_WAIT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up:
                file.close()
                raise Refused(f"{path}: another hub is using this database") from None
            time.sleep(0.02)
        else:
            return file


def main() -> None:
    path, options = arguments()
    writer = Writer(path, msgspec.json.decode(options, type=Options))
    serve(writer.answer, writer.open)


if __name__ == "__main__":
    main()
