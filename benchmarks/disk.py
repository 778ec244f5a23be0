"""How many bytes a sample takes on the disk: `python -m benchmarks.disk`.

A day of the simulated robot (its own driver, run on virtual time, a message a second as the edge sends them) and the
flight log of shared/data (half a minute of 1,400 channels) are committed, compacted and given back to the file system;
then the file is measured, every table, index and rollup of it included. The spare pages that SQLite keeps for the next
batches, 4 MiB or a twentieth, do not grow with the samples of a small file, and are named apart.
"""

import argparse
import asyncio
import contextlib
import random
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from benchmarks.machine import save
from botyard.store.base import Batch, Block
from botyard.store.hot import shard_of
from botyard.store.sqlite import SqliteStore
from botyard_edge.driver import DriverContext, Port
from botyard_edge.telemetry import Batcher
from botyard_plugins.replay.recording import slices
from botyard_plugins.replay.ulogfile import load_ulog
from botyard_plugins.sim.edge import SimDriver
from botyard_plugins.sim.options import SCHEMA
from botyard_schemas import Envelope, Telemetry, encode
from botyard_schemas.messages import Channel, Group
from botyard_schemas.settings import fill_defaults

START = 1_763_712_000_000_000
SECOND = 1_000_000
FLIGHT = Path(__file__).resolve().parents[2] / "shared" / "data" / "px4_mission.ulg"
ROBOTS = {"sim": "sim-1", "flight": "flight-1"}


class _OverError(Exception):
    """The day is over."""


class _Clock:
    """Time that passes at once."""

    def __init__(self, seconds: float) -> None:
        self._left, self._elapsed = seconds, 0.0

    def now(self) -> int:
        return START + round(self._elapsed * SECOND)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        self._elapsed += seconds
        if self._elapsed > self._left:
            raise _OverError


class _Port:
    """Collects what the driver publishes into messages of a second each."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self._second = 0
        self.messages: list[tuple[int, Telemetry]] = []

    async def publish(self, values: dict[str, Any], *, ts: int) -> None:
        if ts // SECOND > self._second:
            self.messages += [(ts, body) for body in self._batcher.take(ts)]
            self._second = ts // SECOND
        self._batcher.add(ts, values)

    def update_state(self, **_: Any) -> None:
        """The state is not telemetry."""


async def simulated(hours: float) -> list[tuple[int, Telemetry]]:
    """What the simulated robot sends in so many hours."""
    options: dict[str, Any] = {"seed": 7}
    fill_defaults(options, SCHEMA)
    clock = _Clock(hours * 3600)
    context = DriverContext(ROBOTS["sim"], "sim", options, Path(), clock, random.Random(7))
    async with SimDriver(context) as driver:
        port = _Port(Batcher(driver.capabilities.channels, max_samples=100_000, max_bytes=1 << 20))
        with contextlib.suppress(_OverError):
            await driver.run(cast("Port", port))
    return port.messages


def flown() -> Iterator[tuple[int, Telemetry]]:
    """The flight log, every topic of it, a message a second."""
    recording = load_ulog(FLIGHT, all_topics=True)
    for part in slices(recording, SECOND):
        groups = []
        for stream, begin, end in part.rows:
            kinds = {channel.name: (channel.type, channel.unit) for channel in stream.channels}
            columns = [
                Channel(name, column[begin:end], *kinds[name])
                for name, column in stream.columns.items()
                if any(value is not None for value in column[begin:end])
            ]
            if columns:
                groups.append(Group([ts - part.end for ts in stream.ts[begin:end]], columns))
        if groups:
            yield START + part.end, Telemetry(groups)


def blocks(robot: str, messages: Iterable[tuple[int, Telemetry]]) -> Iterator[Block]:
    """As ingest makes them, of a minute each."""
    some: list[bytes] = []
    first = 0
    for seq, (ts, body) in enumerate(messages, 1):
        first = first or ts
        some.append(encode(Envelope(robot, ts, body, "e", seq)))
        if ts - first >= 60 * SECOND:
            yield Block(shard_of(robot), first - SECOND, ts, len(some), b"[" + b",".join(some) + b"]")
            some, first = [], 0
    if some:
        yield Block(shard_of(robot), first - SECOND, ts, len(some), b"[" + b",".join(some) + b"]")


async def measure(name: str, messages: Iterable[tuple[int, Telemetry]]) -> dict[str, Any]:
    """Bytes of a database that holds these messages and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hub.db"
        async with SqliteStore(path):
            pass
        empty = path.stat().st_size
        raw = 0
        async with SqliteStore(path) as store:
            for count, block in enumerate(blocks(ROBOTS[name], messages), 1):
                raw += len(block.data)
                await store.commit(Batch(blocks=[block]))
                if count % 5 == 0:  # as often as a hub does
                    await store.compact()
            await store.compact()
            samples = await stored(store, ROBOTS[name])
        size = path.stat().st_size - empty
        spare = await asyncio.to_thread(free, path)
    return {
        "telemetry": name,
        "samples": samples,
        "wire_bytes_per_sample": round(raw / samples, 2),
        "disk_bytes_per_sample": round((size - spare) / samples, 2),
        "with_spare_pages": round(size / samples, 2),
    }


def free(path: Path) -> int:
    """Bytes of the pages that nothing is in."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        (pages,), (size,) = (database.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_size"))
    return int(pages) * int(size)


async def stored(store: SqliteStore, robot: str) -> int:
    """How many samples the store gives back."""
    count, cursor = 0, None
    while True:
        page = await store.samples(robots=[robot], limit=200_000, cursor=cursor)
        count += len(page.items)
        cursor = page.next
        if cursor is None:
            return count


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    options, _ = parser.parse_known_args()
    rows = [await measure("sim", await simulated(options.hours))]
    if FLIGHT.is_file():
        rows.append(await measure("flight", flown()))
    for row in rows:
        print("  ".join(f"{name} {value:,}" if not isinstance(value, str) else value for name, value in row.items()))
    save("disk", rows)


if __name__ == "__main__":
    asyncio.run(main())
