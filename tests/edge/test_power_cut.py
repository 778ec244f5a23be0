"""The outbox after a power cut at every single write, sync, truncation and deletion that SQLite does for it.

A life of an outbox is recorded (see `diskrecorder`), with checkpoints, a full outbox, a clean end and another start. At
each operation the disk is put together as it might have been left, and the outbox started from it.
"""

import random
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from botyard_edge.blocking import Inline
from botyard_edge.driver import Channel
from botyard_edge.durable import SqliteOutbox
from botyard_edge.notices import DROPPED
from botyard_edge.outbox import Entry, Limits
from botyard_edge.telemetry import BatchLimits, TelemetryWriter
from botyard_edge.testing import VirtualClock
from botyard_edge.writing import Durability
from botyard_schemas import Channel as WireChannel
from botyard_schemas import Event, Group, Telemetry, decode
from tests.edge.diskrecorder import Disk, Files, Recorder

NAME = "r1.db"
LIMITS = Limits(messages=40, thin=2.0)


@dataclass(frozen=True)
class Mark:
    """What held after an action: so many operations were done by then, and these numbers were on the disk."""

    operations: int
    epoch: str
    head: int
    acknowledged: int
    durable: frozenset[int]


@contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder where a sync costs nothing, if the machine has one."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=shared if shared.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def made(folder: Path, clock: VirtualClock, mode: str = "group") -> SqliteOutbox:
    durability = Durability("each" if mode == "each" else "group", 1.0)
    path = folder / NAME
    return SqliteOutbox(
        "r1", path, clock=clock, rng=random.Random(1), elsewhere=Inline(), limits=LIMITS, durability=durability
    )


class Life:
    """Two lives of an outbox, and what it promised when."""

    def __init__(self, mode: str) -> None:
        self.recorder = Recorder()
        self.marks: list[Mark] = []
        self.payloads: dict[int, bytes] = {}
        self._mode = mode
        self._clock = VirtualClock()
        self._dice = random.Random(4)

    async def run(self) -> None:
        with memory_folder() as folder, self.recorder.recording():
            for steps in (70, 25) if self._mode == "group" else (50, 15):
                async with made(folder, self._clock, self._mode) as outbox:
                    # So that checkpoints come often; SQLite's default is every 1000 pages.
                    outbox._disk._file._connection.execute("PRAGMA wal_autocheckpoint = 12")
                    self._mark(outbox)
                    for _ in range(steps):
                        await self._act(outbox)
                        self._mark(outbox)

    async def _act(self, outbox: SqliteOutbox) -> None:
        choice = self._dice.random()
        if choice < 0.6:
            number = await outbox.put(
                Event("e", "info", data={"text": "x" * self._dice.choice([10, 3000])})
                if choice < 0.15
                else Telemetry([Group([0], [WireChannel("a", [choice])])])
            )
            (entry,) = await outbox.read(number - 1, 1)
            self.payloads[number] = entry.payload
        elif choice < 0.9:
            await self._clock.advance(self._dice.choice([0.3, 1.1]))
        else:
            # The hub acknowledges what was sent; a reboot may have made a gap that it knows.
            here = await outbox.read(outbox.acknowledged, 1000)
            if here:
                outbox.ack(outbox.epoch, self._dice.choice(here[: len(here) // 2 + 1]).seq)

    def _mark(self, outbox: SqliteOutbox) -> None:
        held = {number for first, last in outbox._held for number in range(first, last + 1)}
        durable = frozenset(held - {entry.seq for entry in outbox._unwritten})
        count = len(self.recorder.operations)
        self.marks.append(Mark(count, outbox.epoch, outbox.head, outbox.acknowledged, durable))

    def around(self, count: int) -> tuple[Mark | None, Mark]:
        """What had been promised by then, and what was under way."""
        at = bisect_right(self.marks, count, key=lambda mark: mark.operations)
        return self.marks[at - 1] if at else None, self.marks[min(at, len(self.marks) - 1)]


def spans(entries: list[Entry]) -> Iterator[tuple[str, int, int]]:
    for entry in entries:
        body = decode(entry.payload).body
        if isinstance(body, Event) and body.name == DROPPED:
            for first, last in body.data["ranges"]:
                yield body.data["reason"], first, last


def written(files: Files, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


async def check(folder: Path, life: Life, before: Mark | None, during: Mark) -> None:
    """Start the outbox from what is left, and see whether it keeps what it had promised."""
    async with made(folder, VirtualClock(1_900_000_000_000_000)) as outbox:
        entries = await outbox.read(0, 10_000)
        following = await outbox.put(Event("e", "info"))
        epoch, acknowledged = outbox.epoch, outbox.acknowledged
    if before is None:
        return
    assert epoch == before.epoch
    assert following > before.head, "a number that may have been sent is given twice"
    numbers = [entry.seq for entry in entries]
    assert numbers == sorted(set(numbers))
    known = {entry.seq: entry for entry in entries if not entry.notice}
    assert all(life.payloads[number] == entry.payload for number, entry in known.items())
    told = [(reason, range(first, min(last, before.head) + 1)) for reason, first, last in spans(entries)]
    excused = {number for reason, told_of in told if reason != "cut off" for number in told_of}
    settled = max(acknowledged, during.acknowledged)
    assert before.durable <= {*numbers, *range(1, settled + 1), *excused}, "what was on the disk is there or named"
    named = {*numbers, *(number for _, told_of in told for number in told_of)}
    assert named >= {*range(settled + 1, before.head + 1)}, "the hub would wait for a number for ever"


async def test_thousand_samples_a_second_without_a_hub_cost_the_disk_less_than_two_syncs_a_second() -> None:
    recorder, clock, seconds = Recorder(), VirtualClock(), 120
    channels = [Channel(f"c{number}") for number in range(10)]
    with memory_folder() as folder, recorder.recording():
        path = folder / NAME
        async with SqliteOutbox("r1", path, clock=clock, rng=random.Random(1), elsewhere=Inline()) as outbox:
            begun = len(recorder.operations)
            writer = TelemetryWriter(channels, outbox, clock=clock, limits=BatchLimits(), lossless=False)
            for _ in range(seconds * 100):
                await writer.publish(clock.now(), {channel.name: random.random() for channel in channels})
                await clock.advance(0.01)
            done = recorder.operations[begun:]
            samples = outbox.backlog * BatchLimits().max_samples
    assert samples >= seconds * 1000 * 0.99
    syncs = [operation for operation in done if operation.kind == "sync"]
    assert len(syncs) / seconds < 2
    written = sum(len(operation.data) for operation in done)
    assert written / samples < 60, "bytes to the disk for a sample, log, checkpoints and all"


@pytest.mark.parametrize("mode", ["group", "each"])
async def test_outbox_after_a_power_cut_at_any_write_keeps_its_promises(mode: str) -> None:
    life = Life(mode)
    await life.run()
    kinds = {(operation.kind, operation.name) for operation in life.recorder.operations}
    assert {("write", NAME), ("write", f"{NAME}-wal"), ("sync", NAME), ("delete", f"{NAME}-wal")} <= kinds
    dice, disk = random.Random(9), Disk()
    done: set[object] = set()
    with memory_folder() as folder:
        for count, operation in enumerate(life.recorder.operations, 1):
            disk.do(operation)
            for files in (dict(disk.seen), *disk.after_power_cut(dice)):
                before, during = life.around(count)
                image = (tuple(sorted(files.items())), before, during.acknowledged)
                if image in done:
                    continue
                done.add(image)
                written(files, folder / "cut")
                await check(folder / "cut", life, before, during)
    assert len(done) > 300
