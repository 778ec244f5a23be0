"""What a database holds, class by class: what is counted, what it weighs, and what is the oldest of it.

The table `total` has a row for each class, and whoever inserts or deletes changes it in the same transaction: summing
up millions of rows would take seconds. A database without these rows, or with too few, is counted when it is opened; so
whoever fills the tables by other ways deletes them.

Bytes are those of a row's content and of its place in the table and its indexes, which is a constant. They are some per
cent less than what the files grow by, as pages are rarely full.

Imported by the helper processes, so: standard library and msgspec only.
"""

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

import msgspec

from botyard.store.chunks import SPAN
from botyard.store.rollups import HOUR, MINUTE, SPANS

ClassName = Literal["telemetry", "rollups_minute", "rollups_hour", "events", "reports", "quarantine"]
Engine = Literal["sqlite", "postgresql"]
CLASSES: tuple[ClassName, ...] = get_args(ClassName)


class Kind(NamedTuple):
    """A class of data: where it is, and the column that says how old a row is, which is so many µs before its end."""

    table: str
    only: str
    age: str
    span: int = 0


KINDS: dict[ClassName, Kind] = {
    "telemetry": Kind("chunk", "TRUE", '"end"'),
    "rollups_minute": Kind("rollup", f"width = {MINUTE}", "start", SPANS[MINUTE]),
    "rollups_hour": Kind("rollup", f"width = {HOUR}", "start", SPANS[HOUR]),
    "events": Kind("event", "TRUE", "ts"),
    "reports": Kind("report", "TRUE", "ts"),
    "quarantine": Kind("quarantine", "TRUE", "received"),
}

# What is counted, in words.
UNITS: dict[ClassName, str] = {
    "telemetry": "samples",
    "rollups_minute": "buckets of a minute",
    "rollups_hour": "buckets of an hour",
    "events": "events",
    "reports": "reports",
    "quarantine": "refused messages",
}

ROW = 96  # bytes that a row takes beside what is measured, in its table and indexes
# What a row counts for: its class, its samples or buckets or itself, and its bytes; <…> is a text's length in bytes.
_COUNTED = {
    "chunk": ("'telemetry'", "samples", f"{ROW} + length(data) + <channels> + 3 * <robot>"),
    "rollup": (
        f"CASE width WHEN {MINUTE} THEN 'rollups_minute' ELSE 'rollups_hour' END",
        "buckets",
        f"{ROW} + length(data) + 4 * <robot>",
    ),
    "event": ("'events'", "1", f"{ROW} + <data> + <name> + <actor> + coalesce(<message>, 0)"),
    "report": ("'reports'", "1", f"{ROW} + <body> + 2 * <command>"),
    "quarantine": ("'quarantine'", "1", f"{ROW} + <payload> + <detail> + coalesce(<topic>, 0)"),
}
Counted = tuple[ClassName, int, int]
OCTETS = {"sqlite": r"length(CAST(\1 AS BLOB))", "postgresql": r"octet_length(\1)"}


def counted(table: str, engine: Engine) -> str:
    """Columns that say what a row counts for."""
    name, count, size = _COUNTED[table]
    return f"{name}, {count}, {re.sub('<([a-z]+)>', OCTETS[engine], size)}"


def everything(table: str, engine: Engine) -> str:
    """A statement that counts a whole table."""
    name, count, size = _COUNTED[table]
    size = re.sub("<([a-z]+)>", OCTETS[engine], size)
    return f"SELECT {name}, sum({count}), sum({size}) FROM {table} GROUP BY 1"  # noqa: S608 - constants


# No chunk is longer than SPAN, so the oldest sample is in one that ends within that time of the first end.
_OLDEST_CHUNK = f'(SELECT min(start) FROM chunk WHERE "end" <= (SELECT min("end") FROM chunk) + {SPAN})'  # noqa: S608


def _bounds(name: ClassName) -> str:
    table, only, age, _ = KINDS[name]
    first = f"(SELECT min({age}) FROM {table} WHERE {only})" if name != "telemetry" else _OLDEST_CHUNK  # noqa: S608
    last = f"(SELECT max({age}) FROM {table} WHERE {only})"  # noqa: S608
    return f"SELECT '{name}' AS name, {first} AS oldest, {last} AS newest"


BOUNDS = " UNION ALL ".join(map(_bounds, CLASSES))
SIZES = "SELECT ts, bytes FROM size ORDER BY ts"
TOTALS = "SELECT name, count, bytes FROM total"


class Tally:
    """What a transaction changes in the totals."""

    def __init__(self) -> None:
        self._changes: dict[ClassName, tuple[int, int]] = {}

    def add(self, rows: Iterable[Counted], sign: int = 1) -> int:
        """These came, or with -1 went; gives how many they are."""
        n = 0
        for n, (name, count, size) in enumerate(rows, 1):  # noqa: B007 - counts
            before = self._changes.get(name, (0, 0))
            self._changes[name] = before[0] + sign * count, before[1] + sign * size
        return n

    def of(self, name: ClassName) -> tuple[int, int]:
        """Samples, buckets or rows, and bytes, by which a class has grown."""
        return self._changes.get(name, (0, 0))

    def take(self) -> list[tuple[int, int, ClassName]]:
        """The changes, which are forgotten."""
        taken = [(*change, name) for name, change in self._changes.items()]
        self._changes = {}
        return taken


class Total(msgspec.Struct, frozen=True, kw_only=True):
    """A class of data: samples, buckets or rows, their bytes, and the times of the oldest and newest in µs."""

    name: ClassName
    count: int
    bytes: int
    oldest: int | None
    newest: int | None


class Size(msgspec.Struct, frozen=True, array_like=True):
    """How large the database was."""

    ts: int
    bytes: int


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What is read from the database: its size, what is left on its disk when that can be seen, and the tables."""

    bytes: int
    free_bytes: int | None
    totals: list[tuple[ClassName, int, int]]
    bounds: list[tuple[ClassName, int | None, int | None]]
    sizes: list[Size]


class Holdings(msgspec.Struct, frozen=True, kw_only=True):
    """What a store holds. `limit_bytes` is a size that the database cannot go beyond; `messages` and `message_bytes`
    wait to be compacted."""

    engine: Engine
    address: str
    bytes: int
    free_bytes: int | None
    limit_bytes: int | None
    messages: int
    message_bytes: int
    totals: dict[ClassName, Total]
    sizes: list[Size]

    @property
    def bytes_per_sample(self) -> float | None:
        """Of telemetry with its rollups; None without any."""
        samples = self.totals["telemetry"].count
        of_all = sum(self.totals[name].bytes for name in ("telemetry", "rollups_minute", "rollups_hour"))
        return of_all / samples if samples else None


class Expired(msgspec.Struct, frozen=True, array_like=True):
    """What a slice of expiry deleted, and whether there is more to delete."""

    count: int = 0
    bytes: int = 0
    more: bool = False


def totals_of(inventory: Inventory) -> dict[ClassName, Total]:
    """All classes, also those of which there is nothing."""
    counts = {name: (count, size) for name, count, size in inventory.totals}
    bounds = {name: (oldest, newest) for name, oldest, newest in inventory.bounds}
    last = bounds["telemetry"][1]
    found: dict[ClassName, Total] = {}
    for name in CLASSES:
        count, size = counts.get(name, (0, 0))
        oldest, newest = bounds[name]
        if newest is not None and (span := KINDS[name].span):
            newest = newest + span if last is None else max(newest, min(newest + span, last))
        found[name] = Total(name=name, count=count, bytes=size, oldest=oldest, newest=newest)
    return found
