"""The store in SQLite: one file, a process that writes it and a process that reads it."""

import contextlib
import secrets
from pathlib import Path
from typing import Any, Self

import msgspec

from botyard.store import page, relations
from botyard.store.base import (
    Batch,
    BucketRow,
    ChannelRow,
    CommandRow,
    Committed,
    EventRow,
    Page,
    Position,
    ReportRow,
    RobotRow,
    Sample,
    StateRow,
    StoredEvent,
    StoredQuarantine,
    StoreError,
)
from botyard.store.cursors import clamp, decode_sample, positive
from botyard.store.frames import HIGHEST, LOWEST
from botyard.store.helper import Helper, Servant
from botyard.store.holdings import CLASSES, ClassName, Expired, Holdings, Inventory, Size
from botyard.store.hot import shard_of
from botyard.store.reading import Found, SeriesRow
from botyard.store.rollups import Bucket
from botyard.store.sqlite_schema import SqliteDatabase
from botyard.store.upkeep import Upkeep
from botyard_schemas.clock import Clock, SystemClock

WRITER = "botyard.store.sqlite_writer"
READER = "botyard.store.sqlite_reader"

_pack = msgspec.msgpack.Encoder().encode
_json = msgspec.json.Encoder().encode
_ids = msgspec.msgpack.Decoder(list[int])
_more = msgspec.msgpack.Decoder(bool)
_found = msgspec.json.Decoder(list[Found])
_series = msgspec.json.Decoder(list[SeriesRow])
_buckets = msgspec.json.Decoder(list[Bucket])
_inventory = msgspec.json.Decoder(Inventory)
_expired = msgspec.msgpack.Decoder(Expired)
_waiting = msgspec.json.Decoder(list[tuple[int, int, int]])


class SqliteStore:
    """`Store` in the SQLite database `path`, which is made when it is not there.

    `quarantine_limit` is how many refused messages are kept of each robot. `max_size` in bytes, when given, is how far
    the database may grow; a batch beyond it raises StoreError, as on a full disk. `patience` is how many seconds one
    read of samples may take. One hub at a time: a second one that opens the same file gets StoreError. Without
    `processes` the work is done in this one, and a power cut may take it back (see `inline`).
    """

    def __init__(
        self,
        path: Path,
        *,
        quarantine_limit: int = 1000,
        max_size: int | None = None,
        patience: float = 30.0,
        clock: Clock | None = None,
        processes: bool = True,
    ) -> None:
        self._path = path
        clock = clock or SystemClock()
        self._max_size = max_size
        writing = {"session": secrets.token_hex(8), "quarantine_limit": quarantine_limit, "max_size": max_size}
        reading = {"patience": patience}
        self._writer: Servant
        self._reader: Servant
        if processes:
            self._writer = Helper("SQLite writer", WRITER, [str(path), _json(writing).decode()], clock)
            self._reader = Helper("SQLite reader", READER, [str(path), _json(reading).decode()], clock)
            self._upkeep = Upkeep(self, clock)
        else:
            from botyard.store import inline

            self._writer = inline.writer(path, {**writing, "durable": False})
            self._reader = inline.reader(path, reading)
            self._upkeep = Upkeep(self, clock, inline.compactor)
        self._open = contextlib.AsyncExitStack()
        self._db = SqliteDatabase(path, self._reader)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(f"{self._path}: its folder cannot be made: {error.strerror}") from error
            await stack.enter_async_context(self._writer)  # first: it holds the lock that keeps a second hub away
            await stack.enter_async_context(self._reader)
            await stack.enter_async_context(self._db)
            if len(_inventory.decode(await self._inventory()).totals) < len(CLASSES):
                await self._writer.change("count", b"")
            self._upkeep.found(_waiting.decode(await self._reader.ask("waiting")))
            await stack.enter_async_context(self._upkeep)
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._open.aclose()

    async def ping(self) -> None:
        """As `Store.ping`."""
        await self._writer.ask("ping")
        await self._reader.ask("ping")

    async def commit(self, batch: Batch) -> Committed:
        """As `Store.commit`."""
        committed = Committed(_ids.decode(await self._writer.change("commit", _packed(batch))))
        self._upkeep.note(batch.blocks)
        return committed

    async def compact(self) -> None:
        """As `Store.compact`."""
        await self._upkeep.compact()

    async def hot(self, shard: int, most: int) -> bytes:
        """As `Shelf.hot`."""
        return await self._reader.ask("hot", _pack((shard, most)))

    async def mergeable(self, gathered: int, settled: int, most: int) -> bytes:
        """As `Shelf.mergeable`."""
        return await self._reader.ask("mergeable", _pack((gathered, settled, most)))

    async def carry_out(self, plan: bytes) -> None:
        """As `Shelf.carry_out`."""
        await self._writer.change("compact", plan)

    async def expire(self, name: ClassName, before: int | None, most: int | None) -> Expired:
        """As `Store.expire`."""
        return _expired.decode(await self._writer.change("expire", _pack((name, before, most))))

    async def give_back(self) -> bool:
        """As `Store.give_back`."""
        return _more.decode(await self._writer.change("give_back", b""))

    async def note_size(self, size: Size, oldest: int) -> None:
        """As `Store.note_size`."""
        await self._writer.change("note_size", _pack((size.ts, size.bytes, oldest)))

    async def holdings(self) -> Holdings:
        """As `Store.holdings`."""
        found = _inventory.decode(await self._inventory())
        address = f"sqlite:///{self._path.absolute()}"
        return page.holdings("sqlite", address, found, self._max_size, self._upkeep.waiting)

    async def _inventory(self) -> bytes:
        return await self._reader.ask("inventory", _pack(str(self._path.absolute())))

    async def positions(self) -> list[Position]:
        """As `Store.positions`."""
        return await self._db.run(relations.positions())

    async def states(self) -> list[StateRow]:
        """As `Store.states`."""
        return await self._db.run(relations.states())

    async def channels(self, robot: str) -> list[ChannelRow]:
        """As `Store.channels`, by name."""
        return page.channels(robot, _series.decode(await self._reader.ask("series", _pack(robot))))

    async def samples(
        self,
        *,
        robots: list[str] | None = None,
        channels: list[str] | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Page[Sample]:
        """As `Store.samples`."""
        query = {
            "robots": robots,
            "channels": channels,
            "start": clamp(start, LOWEST),
            "end": clamp(end, HIGHEST),
            "after": None if cursor is None else decode_sample(cursor),
            "limit": positive("limit", limit) + 1,
        }
        return page.samples(_found.decode(await self._reader.ask("samples", _pack(query))), limit)

    async def latest(self, robot: str, channels: list[str] | None = None) -> list[Sample]:
        """As `Store.latest`, by channel."""
        return page.latest(robot, channels, _series.decode(await self._reader.ask("series", _pack(robot))))

    async def counts(self) -> dict[tuple[str, str], int]:
        """As `Store.counts`."""
        found: list[tuple[str, str, int]] = msgspec.json.decode(await self._reader.ask("counts"))
        return {(robot, channel): count for robot, channel, count in found}

    async def aggregate(self, robot: str, channel: str, *, start: int, end: int, bucket: int) -> list[BucketRow]:
        """As `Store.aggregate`."""
        query = {
            "robot": robot,
            "channel": channel,
            "start": clamp(start, LOWEST),
            "end": clamp(end, HIGHEST),
            "width": positive("bucket", bucket),
        }
        return page.buckets(_buckets.decode(await self._reader.ask("aggregate", _pack(query))))

    async def events(
        self,
        *,
        robot: str | None = None,
        severities: list[str] | None = None,
        name: str | None = None,
        start: int | None = None,
        end: int | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[StoredEvent]:
        """As `Store.events`."""
        wanted = relations.EventFilter(robot, severities, name, clamp(start, LOWEST), clamp(end, HIGHEST))
        return await self._db.run(relations.events(wanted, positive("limit", limit), cursor))

    async def quarantined(
        self, *, robot: str | None = None, reason: str | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[StoredQuarantine]:
        """As `Store.quarantined`."""
        return await self._db.run(relations.quarantined(robot, reason, positive("limit", limit), cursor))

    async def robots(self) -> list[RobotRow]:
        """As `Store.robots`, by id."""
        return await self._db.run(relations.robots())

    async def add_robot(self, robot: RobotRow) -> None:
        """As `Store.add_robot`."""
        await self._writer.change("add_robot", _robot(robot))

    async def change_robot(self, robot: RobotRow) -> None:
        """As `Store.change_robot`."""
        await self._writer.change("change_robot", _robot(robot))

    async def remove_robot(self, robot_id: str) -> None:
        """As `Store.remove_robot`. Slice by slice, with room for commits in between; the robot itself goes last."""
        await self._upkeep.compact(shard_of(robot_id))
        while _more.decode(await self._writer.change("purge", _pack(robot_id))):
            pass

    async def add_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        """As `Store.add_command`."""
        return Committed(_ids.decode(await self._writer.change("add_command", _command(command, event))))

    async def change_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        """As `Store.change_command`."""
        return Committed(_ids.decode(await self._writer.change("change_command", _command(command, event))))

    async def command(self, command_id: str) -> CommandRow | None:
        """As `Store.command`."""
        return await self._db.run(relations.command(command_id))

    async def commands(self, robot: str, *, limit: int = 100, cursor: str | None = None) -> Page[CommandRow]:
        """As `Store.commands`."""
        return await self._db.run(relations.commands(robot, positive("limit", limit), cursor))

    async def open_commands(self, robot: str | None = None) -> list[CommandRow]:
        """As `Store.open_commands`."""
        return await self._db.run(relations.open_commands(robot))

    async def reports(self, command_id: str, limit: int = 1000) -> list[ReportRow]:
        """As `Store.reports`."""
        return await self._db.run(relations.reports(command_id, positive("limit", limit)))


def _packed(batch: Batch) -> bytes:
    """The batch as the writer takes it: rows by position, JSON as text. Raises StoreError."""
    astuple = msgspec.structs.astuple
    try:
        rows: dict[str, Any] = {
            "blocks": [astuple(block) for block in batch.blocks],
            "reports": [astuple(report) for report in batch.reports],
            "states": [astuple(state) for state in batch.states],
            "quarantine": [astuple(refused) for refused in batch.quarantine],
            "progress": _json([(p.robot, p.epoch, p.seq, p.beyond) for p in batch.positions])
            if batch.positions
            else b"",
            "events": [_event(event) for event in batch.events],
        }
        return _pack(rows)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(f"the batch holds a value that is no JSON: {error}") from error


def _event(event: EventRow) -> tuple[Any, ...]:
    *before, data, cause, epoch, seq = msgspec.structs.astuple(event)
    return (*before, _json(data).decode(), cause, epoch, seq)


def _robot(robot: RobotRow) -> bytes:
    try:
        return _pack({**msgspec.structs.asdict(robot), "tags": _json(robot.tags).decode()})
    except (ValueError, OverflowError) as error:
        raise StoreError(f"robot {robot.id!r} cannot be stored: {error}") from error


def _command(command: CommandRow, event: EventRow | None) -> bytes:
    try:
        row = {**msgspec.structs.asdict(command), "args": _json(command.args).decode()}
        return _pack((row, [] if event is None else [_event(event)]))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(f"command {command.id!r} cannot be stored: {error}") from error
