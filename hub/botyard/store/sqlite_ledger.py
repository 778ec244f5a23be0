"""Inserts and deletes in SQLite what is counted in `total`, and deletes what is too old or too much.

Imported by the writer process, so: standard library and msgspec only.
"""

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any

from botyard.store.holdings import KINDS, ClassName, Expired, Tally, counted, everything

SLICE = 0.015  # seconds that a slice of expiry may take, so that commits never wait long
STEP = {"chunk": 4, "rollup": 16}  # rows that are deleted between two looks at the clock
ROWS = 200  # the same of other tables, whose rows are small
PAGES = 32  # pages that are given back between two looks
SPARE = 1024  # pages that the file keeps to grow into, or SPARE_SHARE of it
SPARE_SHARE = 0.05

_SETTLE = "UPDATE total SET count = count + ?, bytes = bytes + ? WHERE name = ?"


class Ledger:
    """For the writer's connection. What it does is part of the transaction that is open, up to `settle`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._tally = Tally()

    def insert(self, table: str, statement: str, rows: Sequence[Any]) -> list[int]:
        """Insert rows by the statement, which is for this table; gives their ids."""
        if not rows:
            return []
        (before,) = self._db.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()  # noqa: S608 - constants
        ids = [self._db.execute(statement, row).lastrowid or 0 for row in rows]
        look = f"SELECT {counted(table, 'sqlite')} FROM {table} WHERE id > ?"  # noqa: S608
        self._tally.add(self._db.execute(look, (before,)))
        return ids

    def delete(self, table: str, ids: Iterable[int]) -> int:
        """Delete rows; gives how many there were."""
        look = f"SELECT {counted(table, 'sqlite')} FROM {table} WHERE id = ?"  # noqa: S608
        drop = f"DELETE FROM {table} WHERE id = ?"  # noqa: S608
        gone = 0
        for n in ids:
            gone += self._tally.add(self._db.execute(look, (n,)).fetchall(), -1)
            self._db.execute(drop, (n,))
        return gone

    def settle(self) -> None:
        """Bring the changes to the table `total`."""
        if changes := self._tally.take():
            self._db.executemany(_SETTLE, changes)

    def forget(self) -> None:
        """The transaction is rolled back."""
        self._tally.take()

    def count(self) -> None:
        """Count everything anew."""
        self._db.execute("DELETE FROM total")
        self._db.executemany("INSERT INTO total VALUES (?, 0, 0)", [(name,) for name in KINDS])
        for table in dict.fromkeys(kind.table for kind in KINDS.values()):
            self._tally.add(self._db.execute(everything(table, "sqlite")))

    def expire(self, name: ClassName, before: int | None, most: int | None) -> Expired:
        """Delete the oldest of what ended before a time (µs), and of what is more than `most` bytes, for a moment."""
        give_up = time.monotonic() + SLICE
        (_count, size) = self._db.execute("SELECT count, bytes FROM total WHERE name = ?", (name,)).fetchone()
        more = True
        while more and time.monotonic() < give_up:
            left = size + self._tally.of(name)[1]
            ids = self._too_old(name, before) or self._too_much(name, 0 if most is None else left - most)
            more = bool(ids)
            self.delete(KINDS[name].table, ids)
        changed, grown = self._tally.of(name)
        return Expired(-changed, -grown, more)

    def _too_old(self, name: ClassName, before: int | None) -> list[int]:
        if before is None:
            return []
        table, only, age, span = KINDS[name]
        query = f"SELECT id FROM {table} WHERE {only} AND {age} < ? ORDER BY {age} LIMIT ?"  # noqa: S608
        return [n for (n,) in self._db.execute(query, (before - span, STEP.get(table, ROWS)))]

    def _too_much(self, name: ClassName, excess: int) -> list[int]:
        found: list[int] = []
        if excess <= 0:
            return found
        table, only, age, _ = KINDS[name]
        query = f"SELECT id, {counted(table, 'sqlite')} FROM {table} WHERE {only} ORDER BY {age} LIMIT ?"  # noqa: S608
        for n, _, _, size in self._db.execute(query, (STEP.get(table, ROWS),)):
            found.append(n)
            excess -= size
            if excess <= 0:
                break
        return found

    def give_back(self) -> bool:
        """Give free pages back to the file system for a moment; True while there are more than the file may keep."""
        give_up = time.monotonic() + SLICE
        while (free := self._spare()) > 0:
            if time.monotonic() >= give_up:
                return True
            self._db.execute(f"PRAGMA incremental_vacuum({min(PAGES, free)})").fetchall()
        return False

    def _spare(self) -> int:
        """Free pages that are too many; none in a file that was not made to give them back."""
        pragmas = ("auto_vacuum", "freelist_count", "page_count")
        vacuum, free, pages = (int(self._db.execute(f"PRAGMA {name}").fetchone()[0]) for name in pragmas)
        return free - max(SPARE, int(pages * SPARE_SHARE)) if vacuum == 2 else 0
