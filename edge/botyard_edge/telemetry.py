"""Samples to batches: columnar groups, closed by number of samples, by size in bytes and by age."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from botyard_edge.driver import Channel, ReadingError
from botyard_edge.hubtime import Stamp
from botyard_edge.outbox import Outbox
from botyard_edge.samples import checked, checked_column
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Channel as WireChannel
from botyard_schemas.messages import Group, Telemetry

# Encoded size that a batch stays under, so that with its envelope it keeps the hub's 256 KiB.
MAX_BYTES = 200_000
MAX_GROUPS = 500  # the contract allows 1024

# Upper bounds of encoded sizes: of a time offset with its comma, and of a channel's name, type and unit.
_TIME, _COLUMN = 18, 60


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """When a batch is closed: at this many samples, or when its oldest sample waits this many seconds."""

    max_samples: int = 500
    max_age: float = 0.5


@dataclass(slots=True)
class _Rows:
    """Samples of channels that are published together."""

    names: tuple[str, ...]
    ts: list[int] = field(default_factory=list)
    columns: list[list[Any]] = field(default_factory=list)
    # Whether one of the channels goes on in another group, so that no row may follow here.
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Columns whose samples are all there and may go on the wire. `size` is an upper bound of a row's encoded size,
    `head` that of what is said once."""

    names: tuple[str, ...]
    columns: Sequence[Sequence[Any]]
    size: int
    head: int


class Batcher:
    """Collects samples. Each finite sample that is added comes out of `take` once, in order for each channel."""

    def __init__(self, channels: Iterable[Channel], *, max_samples: int = 500, max_bytes: int = MAX_BYTES) -> None:
        self._channels = {channel.name: channel for channel in channels}
        self._max_samples = max_samples
        self._max_bytes = max_bytes
        self._groups: list[_Rows] = []
        self._open: dict[str, _Rows] = {}
        self._full: list[list[_Rows]] = []
        self.samples = 0
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._groups or self._full)

    def declare(self, channel: Channel) -> None:
        """One more channel."""
        self._channels[channel.name] = channel

    @property
    def full(self) -> bool:
        """Whether a batch is complete."""
        return bool(self._full)

    def add(self, ts: int, values: Mapping[str, Any]) -> None:
        """Samples of one instant. Raises ReadingError, and then takes in none of them."""
        row: dict[str, Any] = {}
        cost: dict[str, int] = {}
        for name, value in values.items():
            sample, size = self._checked(name, value)
            row[name] = sample
            cost[name] = size
        if all(sample is None for sample in row.values()):
            return
        for part in self._parts(row, cost):
            self._add_row(ts, {name: row[name] for name in part}, sum(cost[name] for name in part) + _TIME)

    def block(self, columns: Mapping[str, Sequence[Any]]) -> "Block | None":
        """Samples of many instants, checked column by column, for `add_block`; None when they have to be added row by
        row, because samples are missing or one row is too much for a batch. Raises ReadingError."""
        names, checked_columns, size = tuple(columns), [], _TIME
        for name, column in columns.items():
            if (found := checked_column(self._channel(name), column)) is None:
                return None
            checked_columns.append(found[0])
            size += found[1]
        head = sum(_COLUMN + len(name) for name in names)
        if size + head > self._max_bytes // 2 or len(names) > self._max_samples:
            return None
        return Block(names, checked_columns, size, head)

    def add_block(self, ts: Sequence[int], block: "Block", begin: int) -> int:
        """Add as many of the rows from this one on as the batch takes, at least one. Gives the first that is not
        added; so `full` batches may be taken in between."""
        names = block.names
        group = self._open.get(names[0])
        fits = group is not None and group.names == names and not group.closed
        used = self._bytes + (0 if fits else block.head)
        rows = min(
            len(ts) - begin,
            (self._max_samples - self.samples) // len(names),
            (self._max_bytes - used) // block.size,
        )
        if rows <= 0 or group is None or not fits:
            row = {name: column[begin] for name, column in zip(names, block.columns, strict=True)}
            self._add_row(ts[begin], row, block.size)
            return begin + 1
        end = begin + rows
        group.ts.extend(ts[begin:end])
        for column, samples in zip(group.columns, block.columns, strict=True):
            column.extend(samples[begin:end])
        self.samples += rows * len(names)
        self._bytes += rows * block.size
        if self.samples >= self._max_samples:
            self._close()
        return end

    def take(self, now: int, *, all_: bool = True) -> list[Telemetry]:
        """The complete batches, with `all_` also the one that is being filled. Times are relative to `now`."""
        if all_:
            self._close()
        batches = [telemetry(groups, self._channels, now) for groups in self._full]
        self._full = []
        return [batch for batch in batches if batch.groups]

    def _parts(self, row: dict[str, Any], cost: dict[str, int]) -> list[list[str]]:
        """The row's channels, split where one row alone would fill more than a batch."""
        parts: list[list[str]] = [[]]
        room = self._max_bytes
        for name in row:
            need = cost[name] + _COLUMN + len(name) + _TIME
            if need > room and parts[-1]:
                parts.append([])
                room = self._max_bytes
            parts[-1].append(name)
            room -= need
        return parts

    def _add_row(self, ts: int, row: dict[str, Any], size: int) -> None:
        names = tuple(row)
        group = self._open.get(names[0])
        if group is None or group.names != names:
            group = None
            size += sum(_COLUMN + len(name) for name in names)
        filled = sum(sample is not None for sample in row.values())
        if self.samples and (
            self.samples + filled > self._max_samples
            or self._bytes + size > self._max_bytes
            or (group is None and len(self._groups) >= MAX_GROUPS)
        ):
            size += sum(_COLUMN + len(name) for name in names) if group is not None else 0
            self._close()
            group = None
        if group is None:
            group = _Rows(names, columns=[[] for _ in names])
            self._groups.append(group)
            # A channel that was in another group goes on in this one, so that its samples stay in order.
            for name in names:
                if (before := self._open.get(name)) is not None:
                    before.closed = True
            self._open.update(dict.fromkeys(names, group))
        elif group.closed:
            self._open.pop(names[0])
            self._add_row(ts, row, size)
            return
        group.ts.append(ts)
        for column, sample in zip(group.columns, row.values(), strict=True):
            column.append(sample)
        self.samples += filled
        self._bytes += size
        if self.samples >= self._max_samples:
            self._close()

    def _close(self) -> None:
        if self._groups:
            self._full.append(self._groups)
        self._groups, self._open, self.samples, self._bytes = [], {}, 0, 0

    def _checked(self, name: str, value: Any) -> tuple[Any, int]:
        """The sample as it goes on the wire (None: no sample), and an upper bound of its encoded size."""
        sample, size = checked(self._channel(name), value)
        if size > self._max_bytes // 2:
            raise ReadingError(f"channel {name!r}: one value of {size} bytes is too large, {self._max_bytes // 2} fit")
        return sample, size

    def _channel(self, name: str) -> Channel:
        channel = self._channels.get(name)
        if channel is None:
            raise ReadingError(f"channel {name!r} was published but not declared in the capabilities")
        return channel


def telemetry(groups: list[_Rows], channels: Mapping[str, Channel], now: int) -> Telemetry:
    """A batch's body. Columns that hold no sample are left out; groups with the same times become one."""
    times_of: dict[str, int] = {}
    for rows in groups:
        for name in rows.names:
            times_of[name] = times_of.get(name, 0) + 1
    merged: list[tuple[list[int], list[WireChannel]]] = []
    by_times: dict[tuple[int, ...], int] = {}
    for rows in groups:
        columns = [
            WireChannel(name, column, channels[name].type, channels[name].unit)
            for name, column in zip(rows.names, rows.columns, strict=True)
            if any(sample is not None for sample in column)
        ]
        if not columns:
            continue
        times = tuple(rows.ts)
        # Only channels that occur once in the batch may move to an earlier group, for the sake of their order.
        at = by_times.get(times) if all(times_of[column.name] == 1 for column in columns) else None
        if at is not None and len(merged[at][1]) + len(columns) <= 4096:
            merged[at][1].extend(columns)
        else:
            by_times[times] = len(merged)
            merged.append(([ts - now for ts in times], columns))
    return Telemetry([Group(dt, columns) for dt, columns in merged])


class TelemetryWriter:
    """Takes one driver's samples to the outbox. `run` closes batches by age; publishing closes them by size."""

    def __init__(
        self,
        channels: Iterable[Channel],
        outbox: Outbox,
        *,
        clock: Clock,
        limits: BatchLimits,
        lossless: bool,
        stamp: Callable[[int], Stamp] | None = None,
    ) -> None:
        self._batcher = Batcher(channels, max_samples=limits.max_samples)
        self._outbox = outbox
        self._clock = clock
        self._max_age = limits.max_age
        self._lossless = lossless
        self._stamp = stamp
        self._before: list[tuple[Telemetry, int, Stamp | None]] = []
        self._lock = asyncio.Lock()
        self._begun = asyncio.Event()

    def declare(self, channel: Channel) -> None:
        """One more channel, from now on."""
        self._batcher.declare(channel)

    async def publish(self, ts: int, values: Mapping[str, Any]) -> None:
        """Add samples of one instant. Waits for room in the outbox when the driver is lossless."""
        self._batcher.add(ts, values)
        await self._pass_on(all_=False)

    async def publish_columns(self, ts: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
        """Add samples of many instants. Raises ReadingError when a column is not as long as `ts`."""
        for name, column in columns.items():
            if len(column) != len(ts):
                raise ReadingError(f"channel {name!r}: {len(column)} values for {len(ts)} times")
        if not columns or not ts:
            return
        if (block := self._batcher.block(columns)) is not None:
            at = 0
            while at < len(ts):
                at = self._batcher.add_block(ts, block, at)
                if self._batcher.full:
                    await self._pass_on(all_=False)
            self._note_begun()
            return
        names = tuple(columns)
        for moment, row in zip(ts, zip(*columns.values(), strict=True), strict=True):
            self._batcher.add(moment, dict(zip(names, row, strict=True)))
            if self._batcher.full:
                await self._pass_on(all_=False)
        self._note_begun()

    async def flush(self, *, wait: bool = True) -> None:
        """Take everything to the outbox now. Without `wait` also a lossless driver's, whatever room there is."""
        await self._pass_on(all_=True, wait=wait)

    def cut(self) -> None:
        """Close the batch that is being filled: the clock is about to learn the time, and no batch may hold stamps of
        before and after."""
        now = self._clock.now()
        stamp = self._stamp(now) if self._stamp else None
        self._before += [(batch, now, stamp) for batch in self._batcher.take(now)]
        self._note_begun()

    async def run(self) -> None:
        """Close batches that are old enough, for ever."""
        while True:
            await self._begun.wait()
            await self._clock.sleep(self._max_age)
            await self.flush()

    async def _pass_on(self, *, all_: bool, wait: bool = True) -> None:
        # Who holds the lock passes on what was closed before; samples gather meanwhile.
        if all_ or self._batcher.full or (self._before and not self._lock.locked()):
            async with self._lock:  # batches enter the outbox in the order in which they were closed
                now = self._clock.now()
                stamp = self._stamp(now) if self._stamp else None
                self._before += [(batch, now, stamp) for batch in self._batcher.take(now, all_=all_)]
                await self._empty_into_outbox(wait=wait and self._lossless)
        self._note_begun()

    async def _empty_into_outbox(self, *, wait: bool) -> None:
        """Whoever is cancelled while it waits for room leaves the batches here, for the next to pass them on."""
        while self._before:
            batch, ts, stamp = self._before[0]
            if wait:
                await self._outbox.room(batch, ts=ts, stamp=stamp)
            # From here on it is the outbox's, also if `put` is cancelled: that may only wait for the disk.
            self._before.pop(0)
            await self._outbox.put(batch, ts=ts, wait=wait, stamp=stamp)

    def _note_begun(self) -> None:
        if self._batcher or self._before:
            self._begun.set()
        else:
            self._begun.clear()
