import asyncio
import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from botyard.ingest.given_up import given_up
from botyard.ingest.tracker import Seen, Tracker
from botyard_edge.blocking import Inline
from botyard_edge.durable import MEMORY, SqliteOutbox
from botyard_edge.notices import DROPPED
from botyard_edge.outbox import Entry, Limits, OutboxError
from botyard_edge.testing import VirtualClock
from botyard_edge.writing import LEAP, Durability
from botyard_schemas import Channel, Event, Group, State, Telemetry, decode
from botyard_schemas.messages import Pose

from .conftest import kill_without_warning

T = TypeVar("T")
NOTE = Event("e", "info")
STATE = State("auto", "ok")


def sample(value: float, *channels: str) -> Telemetry:
    return Telemetry([Group([0], [Channel(name, [value]) for name in channels or ("a",)])])


def made(path: Path, clock: VirtualClock, **more: Any) -> SqliteOutbox:
    return SqliteOutbox("r1", path, clock=clock, rng=random.Random(more.pop("seed", 1)), elsewhere=Inline(), **more)


@asynccontextmanager
async def opened(path: Path, clock: VirtualClock | None = None, **more: Any) -> AsyncIterator[SqliteOutbox]:
    async with made(path, clock or VirtualClock(), **more) as outbox:
        yield outbox


async def everything(outbox: SqliteOutbox) -> list[Entry]:
    found: list[Entry] = []
    while part := await outbox.read(found[-1].seq if found else 0, 7):
        found += part
    return found


async def seqs(outbox: SqliteOutbox) -> list[int]:
    return [entry.seq for entry in await everything(outbox)]


def dropped(entries: list[Entry]) -> list[dict[str, Any]]:
    bodies = [decode(entry.payload).body for entry in entries]
    return [body.data for body in bodies if isinstance(body, Event) and body.name == DROPPED]


def deliver(hub: Tracker, entries: list[Entry]) -> int:
    """Give these to the hub; returns how far their epoch is complete there."""
    for entry in entries:
        message = decode(entry.payload)
        hub.offer("r1", message.epoch, message.seq)
        for span in given_up(message):
            hub.settle("r1", *span)
    return hub.position("r1", message.epoch).seq


async def test_outbox_closed_and_opened_again_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state" / "r1.db"
    async with opened(path) as outbox:
        epoch = outbox.epoch
        payloads = []
        for value in range(600):
            await outbox.put(sample(value))
        outbox.ack(epoch, 20)
        payloads = [entry.payload for entry in await everything(outbox)]
    async with opened(path, seed=2) as outbox:
        assert outbox.epoch == epoch
        assert outbox.acknowledged == 20
        assert [entry.payload for entry in await everything(outbox)] == payloads
        assert await seqs(outbox) == list(range(21, 601))
        assert await outbox.put(NOTE) == 601
        assert outbox.backlog == 581
    assert not [part for part in path.parent.iterdir() if part != path], "a clean end leaves one file"


async def test_outbox_new_file_is_a_new_epoch(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "a.db", clock) as outbox:
        first = outbox.epoch
    await clock.advance(1)
    async with opened(tmp_path / "b.db", clock) as outbox:
        assert outbox.epoch > first
        assert await outbox.put(NOTE) == 1


async def test_outbox_cut_off_skips_the_numbers_that_may_have_been_sent_and_names_them(tmp_path: Path) -> None:
    path, clock = tmp_path / "r1.db", VirtualClock()
    async with opened(path, clock) as outbox:
        await outbox.put(NOTE)
        await clock.advance(2)  # written
        await outbox.put(NOTE)  # sent, perhaps, and not written
        kill_without_warning(path, tmp_path / "after")
    async with opened(tmp_path / "after" / "r1.db", clock) as outbox:
        assert await seqs(outbox) == [1, 2 + LEAP]
        (lost,) = dropped(await everything(outbox))
        assert lost["epoch"] == outbox.epoch
        assert lost["ranges"] == [[2, 1 + LEAP]]
        assert lost["reason"] == "cut off"
        assert await outbox.put(NOTE) == 3 + LEAP
        assert outbox.dropped == 0


async def test_outbox_cut_off_again_and_again_names_every_number_once_and_stays_small(tmp_path: Path) -> None:
    clock, path = VirtualClock(), tmp_path / "0" / "r1.db"
    for life in range(80):
        async with opened(path, clock) as outbox:
            following = tmp_path / str(life + 1)
            kill_without_warning(path, following)
        path = following / "r1.db"
    async with opened(path, clock) as outbox:
        entries = await everything(outbox)
        named = {s for lost in dropped(entries) for first, last in lost["ranges"] for s in (first, last)}
        assert len(entries) <= 33
        assert {entry.seq for entry in entries}.isdisjoint(named)
        spans = sorted([*((e.seq, e.seq) for e in entries), *(tuple(r) for d in dropped(entries) for r in d["ranges"])])
        assert spans[0][0] == 1
        assert all(later[0] == earlier[1] + 1 for earlier, later in itertools.pairwise(spans))
        assert spans[-1][1] == outbox.head


async def test_group_writes_a_thousand_samples_a_second_in_less_than_two_commits_a_second(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "r1.db", clock) as outbox:
        before = outbox.commits
        for index in range(10 * 1000):
            await outbox.put(sample(index))
            await clock.advance(0.001)
        assert 1 <= (outbox.commits - before) / 10 < 2
        assert outbox.backlog == 10_000


async def test_group_never_writes_what_was_acknowledged_in_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "r1.db", clock) as outbox:
        before = outbox.commits
        for _ in range(600):
            outbox.ack(outbox.epoch, await outbox.put(STATE))
            await clock.advance(0.1)
        assert outbox.commits == before


async def test_group_writes_nothing_while_the_hub_acknowledges_within_the_interval(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "r1.db", clock) as outbox:
        before = outbox.commits
        for _ in range(200):
            seq = await outbox.put(NOTE)
            await clock.advance(0.1)
            outbox.ack(outbox.epoch, max(0, seq - 3))  # there is always something under way
        assert outbox.commits == before


async def test_group_writes_each_message_before_the_interval_is_over(tmp_path: Path) -> None:
    clock = VirtualClock()
    dice = random.Random(3)
    async with opened(tmp_path / "r1.db", clock, durability=Durability("group", 1.0)) as outbox:
        made: dict[int, float] = {}
        for _ in range(500):
            made[await outbox.put(NOTE)] = clock.monotonic()
            await clock.advance(dice.choice([0.01, 0.2, 0.9, 1.5]))
            if dice.random() < 0.3:
                outbox.ack(outbox.epoch, max(outbox.acknowledged, outbox.head - dice.randrange(5)))
            now = clock.monotonic()
            assert all(now - made[entry.seq] <= 1.0 + 1e-5 for entry in outbox._unwritten)


async def test_message_is_sent_before_it_is_written(tmp_path: Path) -> None:
    async with opened(tmp_path / "r1.db") as outbox:
        commits = outbox.commits
        await outbox.put(STATE)
        assert [entry.seq for entry in outbox.fresh(0, 10)] == [1]
        assert outbox.commits == commits


async def test_message_too_far_beyond_what_is_written_is_not_sent(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("botyard_edge.writing.LEAP", 5)
    async with opened(tmp_path / "r1.db", durability=Durability("group", 1e6)) as outbox:
        for _ in range(8):
            await outbox.put(STATE)
        # Number 6 would be the first after the gap that a power cut now leaves.
        assert [entry.seq for entry in outbox.fresh(0, 10)] == await seqs(outbox) == [1, 2, 3, 4, 5]


async def test_each_returns_when_the_message_is_on_the_disk(tmp_path: Path) -> None:
    clock, path = VirtualClock(), tmp_path / "r1.db"
    async with opened(path, clock, durability=Durability("each")) as outbox:
        await outbox.put(NOTE)
        await asyncio.gather(*(outbox.put(sample(value)) for value in range(20)))
        kill_without_warning(path, tmp_path / "after")
    async with opened(tmp_path / "after" / "r1.db", clock) as outbox:
        assert (await seqs(outbox))[:21] == list(range(1, 22))


async def test_outbox_of_ten_thousand_messages_keeps_few_in_memory(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "r1.db", clock) as outbox:
        for index in range(10_000):
            await outbox.put(sample(index))
            if index % 500 == 0:
                await clock.advance(1)
        await clock.advance(2)
        assert len(outbox._entries) <= 256
        assert await seqs(outbox) == list(range(1, 10_001))
        assert outbox.bytes == sum(len(entry.payload) for entry in await everything(outbox))
        outbox.ack(outbox.epoch, 10_000)
        assert outbox.backlog == 0
        await clock.advance(2)
        assert outbox.bytes == 0
        await outbox.drained()


async def test_full_outbox_thins_telemetry_keeps_the_rest_and_names_each_loss(tmp_path: Path) -> None:
    clock = VirtualClock()
    limits = Limits(messages=400, thin=10.0)
    async with opened(tmp_path / "r1.db", clock, limits=limits) as outbox:
        kept: list[int] = []
        for second in range(300):
            await outbox.put(sample(second, "a"))
            await outbox.put(sample(second, "b", "c"))
            if second % 10 == 0:
                kept += [await outbox.put(STATE), await outbox.put(NOTE)]
            await clock.advance(1)
        await clock.advance(2)
        entries = await everything(outbox)
        here = {entry.seq for entry in entries}
        assert set(kept) <= here
        lost = [s for data in dropped(entries) for a, b in data["ranges"] for s in range(a, b + 1)]
        assert sorted([*lost, *here]) == list(range(1, outbox.head + 1))
        assert sum(data["count"] for data in dropped(entries)) == len(lost) == outbox.dropped
        assert {data["reason"] for data in dropped(entries)} == {"full"}
        assert outbox.backlog - len(dropped(entries)) <= 400
        thinned = [e for e in entries if e.type == "telemetry" and e.ts < entries[0].ts + 100_000_000]
        buckets = {(e.stream, e.ts // 10_000_000) for e in thinned}
        assert len(buckets) == len(thinned) == 20, "of the oldest, one of each ten seconds and set of channels stays"
    async with opened(tmp_path / "r1.db", clock, limits=limits) as outbox:
        assert outbox.dropped == len(lost)
        assert [entry.seq for entry in await everything(outbox)] == sorted(here)


async def test_full_outbox_keeps_changes_of_the_state_as_long_as_events(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "r1.db", clock, limits=Limits(messages=200)) as outbox:
        changes: list[int] = []
        for second in range(600):
            body = State("auto" if second // 30 % 2 else "manual", "ok", pose=Pose("map", second, 0.0, 0.0))
            seq = await outbox.put(body)
            changes += [seq] if second % 30 == 0 else []
            changes += [await outbox.put(NOTE)] if second % 10 == 0 else []
            await clock.advance(1)
        await clock.advance(2)
        entries = await everything(outbox)
        assert set(changes) <= {entry.seq for entry in entries}
        assert outbox.dropped >= 400
        for _ in range(150):
            await outbox.put(NOTE)
            await clock.advance(1)
        await clock.advance(2)
        here = {entry.seq for entry in await everything(outbox)}
        gone = [seq for seq in changes if seq not in here]
        assert gone == changes[: len(gone)], "of the last to go, the oldest go first, whatever their type"
        assert gone


async def test_full_outbox_of_events_gives_up_the_oldest(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "r1.db", clock, limits=Limits(messages=100)) as outbox:
        for _ in range(150):
            await outbox.put(NOTE)
            await clock.advance(1)
        await clock.advance(2)
        entries = await everything(outbox)
        (lost,) = [data["ranges"] for data in dropped(entries)][-1:]
        assert entries[-1].seq == outbox.head
        assert outbox.backlog <= 110
        assert lost[0][0] <= 60


async def test_old_telemetry_is_given_up_and_old_events_stay(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with opened(tmp_path / "r1.db", clock, limits=Limits(max_age=60.0)) as outbox:
        await outbox.put(NOTE)
        for second in range(200):
            await outbox.put(sample(second))
            await clock.advance(1)
        entries = await everything(outbox)
        assert entries[0].seq == 1
        oldest = min(entry.ts for entry in entries if entry.type == "telemetry")
        assert clock.now() - 70_000_000 <= oldest <= clock.now() - 55_000_000
        assert {data["reason"] for data in dropped(entries)} == {"expired"}


async def test_broken_file_is_set_aside_said_once_and_another_epoch_begins(tmp_path: Path, caplog: Any) -> None:
    path = tmp_path / "r1.db"
    path.write_bytes(b"not a database at all, whatever its name says" * 100)
    async with opened(path) as outbox:
        assert await outbox.put(NOTE) == 2
        first = decode((await everything(outbox))[0].payload).body
        assert isinstance(first, Event)
        assert (first.name, first.severity) == ("outbox.set_aside", "error")
    aside = await asyncio.to_thread(lambda: list(tmp_path.glob("*broken*")))
    assert len(aside) == 1
    assert [r.message.count("cannot be used") for r in caplog.records if r.levelname == "ERROR"] == [1]


async def test_file_of_another_robot_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "r1.db"
    async with SqliteOutbox("r2", path, clock=VirtualClock(), rng=random.Random(5), elsewhere=Inline()) as other:
        await other.put(NOTE)
    async with opened(path) as outbox:
        assert outbox.epoch != other.epoch
        assert [e.type for e in await everything(outbox)] == ["event"]


@pytest.mark.parametrize("damage", range(6))
async def test_damaged_file_is_never_fatal(tmp_path: Path, damage: int) -> None:
    path, clock, dice = tmp_path / "r1.db", VirtualClock(), random.Random(damage)
    async with opened(path, clock) as outbox:
        for value in range(500):
            await outbox.put(sample(value))
    data = bytearray(path.read_bytes())
    for _ in range(200):
        data[dice.randrange(len(data))] = dice.randrange(256)
    path.write_bytes(data)
    async with opened(path, clock) as outbox:
        await outbox.put(NOTE)
        await clock.advance(20)
        await seqs(outbox)
        await clock.advance(20)
        seq = await outbox.put(NOTE)
        assert outbox.head == seq


async def test_file_that_breaks_while_it_is_used_is_replaced_and_what_was_in_it_is_named(tmp_path: Path) -> None:
    path, clock = tmp_path / "r1.db", VirtualClock()
    async with opened(path, clock) as outbox:
        epoch = outbox.epoch
        for value in range(1000):
            await outbox.put(sample(value))
        await clock.advance(2)
        broken = sqlite3.DatabaseError("database disk image is malformed")
        broken.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        await outbox._fail(broken)
        entries = await everything(outbox)
        (lost,) = dropped(entries)
        assert lost["ranges"] == [[1, 744]]
        assert lost["reason"] == "unreadable"
        assert [entry.seq for entry in entries] == list(range(745, 1002))
        kill_without_warning(path, tmp_path / "after")
    async with opened(tmp_path / "after" / "r1.db", clock) as outbox:
        assert outbox.epoch == epoch
        assert outbox.head > 1001, "no number is given twice, even if the new file was never written"


class Snapshots(Inline):
    """Keeps the file as a power cut would leave it after each thing that is done with it."""

    def __init__(self, path: Path) -> None:
        self.taken: list[Path] = []
        self._path = path

    async def run(self, work: Callable[[], T]) -> T:
        done = work()
        self.taken.append(self._path.parent / f"after-{len(self.taken)}")
        kill_without_warning(self._path, self.taken[-1])
        return done


async def test_power_cut_while_a_broken_file_is_replaced_leaves_no_number_that_the_hub_waits_for(
    tmp_path: Path,
) -> None:
    path, clock, hub = tmp_path / "r1.db", VirtualClock(), Tracker()
    snapshots = Snapshots(path)
    async with SqliteOutbox("r1", path, clock=clock, rng=random.Random(1), elsewhere=snapshots) as outbox:
        for value in range(600):
            await outbox.put(sample(value))
        await clock.advance(2)
        assert deliver(hub, await outbox.read(0, 3)) == 3
        outbox.ack(outbox.epoch, 3)
        before, positions = len(snapshots.taken), [hub.position("r1", outbox.epoch)]
        broken = sqlite3.DatabaseError("database disk image is malformed")
        broken.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
        await outbox._fail(broken)
        await clock.advance(2)
    cuts = [cut for cut in snapshots.taken[before:] if (cut / "r1.db").exists()]
    assert len(cuts) >= 2, "one before the new file is written to for the first time, and one after"
    for cut in cuts:
        async with opened(cut / "r1.db", clock, seed=2) as after:
            hub = Tracker(positions)
            await after.put(NOTE)
            assert deliver(hub, await everything(after)) == after.head


class Robot:
    """An outbox and its hub, which remembers what it was given; `stored` are the names of the events there."""

    def __init__(self) -> None:
        self.hub = Tracker()
        self.stored: list[str] = []

    async def send(self, outbox: SqliteOutbox, after: int = 0) -> None:
        """Deliver what waits, and acknowledge."""
        for entry in await outbox.read(after, 1000):
            message = decode(entry.payload)
            assert isinstance(message.body, Event)
            if self.hub.offer("r1", message.epoch, message.seq) is not Seen.DUPLICATE:
                self.stored.append(message.body.name)
            for span in given_up(message):
                self.hub.settle("r1", *span)
        outbox.ack(outbox.epoch, self.hub.position("r1", outbox.epoch).seq)


async def put_events(outbox: SqliteOutbox, *names: str) -> None:
    for name in names:
        await outbox.put(Event(name, "info"))


@pytest.mark.parametrize("written", [True, False])
async def test_file_that_went_back_to_an_earlier_stop_loses_nothing_and_says_so(tmp_path: Path, written: bool) -> None:
    path, clock, robot = tmp_path / "r1.db", VirtualClock(), Robot()
    async with opened(path, clock) as outbox:
        await put_events(outbox, "a1", "a2")
        await robot.send(outbox)
        ended = outbox.epoch
    image = path.read_bytes()
    async with opened(path, clock) as outbox:
        await put_events(outbox, *(f"b{i}" for i in range(50)))
        await robot.send(outbox)
    path.write_bytes(image)
    robot.stored.clear()
    async with opened(path, clock, seed=2) as outbox:
        early, late = [f"c{i}" for i in range(20)], [f"d{i}" for i in range(40)]
        await put_events(outbox, *early)
        if written:
            await clock.advance(2)
        await put_events(outbox, "c20")
        await robot.send(outbox)  # all of it is taken for what was there before, and the acknowledgement proves that
        assert not robot.stored
        await clock.advance(1)
        await put_events(outbox, *late)
        await robot.send(outbox)
        assert robot.stored == [*early, "c20", "outbox.went_back", *late]
        assert outbox.backlog == 0
        assert outbox.epoch != ended
        assert outbox.acknowledged == outbox.head == 62
        epoch = outbox.epoch
        await put_events(outbox, "e")
    async with opened(path, clock) as outbox:
        assert outbox.epoch == epoch
        assert await seqs(outbox) == [63]


@pytest.mark.parametrize("written", [True, False])
async def test_message_that_does_not_keep_the_contract_goes_over_to_another_epoch_like_any_other(
    tmp_path: Path, written: bool
) -> None:
    names = ["a", "Motor Overheat", "b", "", "c"]
    async with opened(tmp_path / "r1.db", VirtualClock()) as outbox:
        await put_events(outbox, *(names if written else []))
    async with opened(tmp_path / "r1.db", VirtualClock(), seed=2) as outbox:
        await put_events(outbox, *([] if written else names))
        ended = outbox.epoch
        outbox.ack(ended, 5000)
        assert outbox.epoch != ended
        for _ in range(10):
            await asyncio.sleep(0.02)
            await outbox._clock.advance(1)  # type: ignore[attr-defined]
        found = [json.loads(entry.payload) for entry in await outbox.read(0, 100)]
        assert [one["body"]["name"] for one in found] == [*names, "outbox.went_back"]
        assert {one["epoch"] for one in found} == {outbox.epoch}
        assert [one["seq"] for one in found] == [1, 2, 3, 4, 5, 6]
        assert outbox.trouble is None


async def test_file_that_went_back_and_a_power_cut_after_its_new_epoch_is_written_loses_nothing(tmp_path: Path) -> None:
    path, clock, robot = tmp_path / "r1.db", VirtualClock(), Robot()
    async with opened(path, clock) as outbox:
        epoch = outbox.epoch
    image = path.read_bytes()
    async with opened(path, clock) as outbox:
        await put_events(outbox, *"abcdefghij")
        await robot.send(outbox)
    path.write_bytes(image)
    snapshots = Snapshots(path)
    names = ["k", "l", "m"]
    async with SqliteOutbox("r1", path, clock=clock, rng=random.Random(2), elsewhere=snapshots) as outbox:
        await put_events(outbox, *names)
        await clock.advance(2)
        before = len(snapshots.taken)
        await robot.send(outbox)
        await clock.advance(2)
        known = [robot.hub.position("r1", epoch)]
    renewed = 0
    for cut in snapshots.taken[before:]:
        after = Robot()
        after.hub = Tracker(known)
        async with opened(cut / "r1.db", clock, seed=3) as outbox:
            if outbox.epoch == epoch:
                continue  # the new one is not in the file yet
            renewed += 1
            for _ in range(3):
                await after.send(outbox)
                await clock.advance(2)
            assert [name for name in after.stored if name in names] == names
            assert outbox.backlog == 0
    assert renewed


async def test_acknowledgement_beyond_what_was_made_in_a_new_epoch_is_ignored(tmp_path: Path) -> None:
    async with opened(tmp_path / "r1.db") as outbox:
        epoch = outbox.epoch
        await outbox.put(NOTE)
        outbox.ack(epoch, 5)
        assert outbox.epoch == epoch
        assert await seqs(outbox) == [1]


async def test_disk_that_stays_unwritable_never_silences_the_robot(tmp_path: Path, monkeypatch: Any) -> None:
    for module in ("durable", "writing"):
        monkeypatch.setattr(f"botyard_edge.{module}.LEAP", 20)
    said: list[str | None] = []
    path, clock, robot = tmp_path / "r1.db", VirtualClock(), Robot()
    async with opened(path, clock, on_trouble=said.append) as outbox:
        first = outbox.epoch
        await put_events(outbox, "0")
        await clock.advance(2)
        db = outbox._disk._file._connection
        db.execute("PRAGMA query_only = 1")
        for index in range(1, 300):
            await put_events(outbox, str(index))
            if index % 7 == 0:
                await robot.send(outbox)
            await clock.advance(1)
        assert len(said) == 1
        await robot.send(outbox)
        await robot.send(outbox)
        assert robot.stored == [str(index) for index in range(300)], "each once, and in order"
        assert outbox.backlog == 0
        epoch = outbox.epoch
        assert epoch != first
        kill_without_warning(path, tmp_path / "after")
        db.execute("PRAGMA query_only = 0")
        await put_events(outbox, "300")
        await clock.advance(30)
        assert said[1:] == [None]
    async with opened(path, clock) as outbox:
        assert outbox.epoch == epoch, "it was begun in the file as well"
        assert len(await seqs(outbox)) == 1
    async with opened(tmp_path / "after" / "r1.db", clock) as outbox:
        assert outbox.epoch == first
        robot.stored.clear()
        await put_events(outbox, "after.the.cut")
        await robot.send(outbox)
        assert robot.stored == [DROPPED, "after.the.cut"], "no number is given twice"
        assert outbox.backlog == 0


async def test_file_that_another_edge_uses_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "r1.db"
    async with opened(path) as outbox:
        await outbox.put(NOTE)
        second = made(path, VirtualClock(), patience=0.1)
        with pytest.raises(OutboxError, match="another process uses this outbox"):
            await second.__aenter__()
        assert await seqs(outbox) == [1]


class Disk:
    """Says what an outbox said of its disk, and fills it up."""

    def __init__(self, outbox: SqliteOutbox) -> None:
        self._outbox = outbox

    def fill(self) -> None:
        db = self._outbox._disk._file._connection
        db.execute(f"PRAGMA max_page_count = {db.execute('PRAGMA page_count').fetchone()[0]}")

    def free(self) -> None:
        self._outbox._disk._file._connection.execute("PRAGMA max_page_count = 1073741823")


async def test_full_disk_is_said_once_messages_stay_in_memory_and_are_written_later(tmp_path: Path) -> None:
    said: list[str | None] = []
    clock, path = VirtualClock(), tmp_path / "r1.db"
    memory = Limits(100, MEMORY.bytes)
    async with opened(path, clock, on_trouble=said.append, memory=memory) as outbox:
        disk = Disk(outbox)
        await outbox.put(NOTE)
        await clock.advance(2)
        disk.fill()
        for value in range(300):
            await outbox.put(sample(value))
            await clock.advance(0.3)
        assert len(said) == 1
        assert "full" in str(said[0])
        assert len(outbox._unwritten) <= 110
        assert await seqs(outbox), "what is in memory is still sent"
        disk.free()
        await clock.advance(30)
        assert said[1:] == [None]
        entries = await everything(outbox)
        lost = [s for data in dropped(entries) for a, b in data["ranges"] for s in range(a, b + 1)]
        assert sorted([*lost, *(e.seq for e in entries)]) == list(range(1, outbox.head + 1))
        here = [entry.seq for entry in entries]
    async with opened(path, clock) as outbox:
        assert await seqs(outbox) == here


async def test_disk_that_cannot_be_written_at_the_start_leaves_the_outbox_in_memory(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    said: list[str | None] = []
    async with opened(tmp_path / "state" / "r1.db", on_trouble=said.append) as outbox:
        assert await outbox.put(NOTE) == 1
        assert await seqs(outbox) == [1]
        outbox.ack(outbox.epoch, 1)
        await outbox.drained()
    assert len(said) == 1


async def test_lossless_producer_waits_while_the_disk_is_behind(tmp_path: Path) -> None:
    clock = VirtualClock()
    text = "x" * 50_000
    async with opened(tmp_path / "r1.db", clock, memory=Limits(5000, 400_000)) as outbox:

        async def produce() -> None:
            for _ in range(40):
                await outbox.put(Event("e", "info", data={"text": text}), wait=True)

        task = asyncio.create_task(produce())
        while not task.done():
            await clock.advance(0.5)
            assert outbox._unwritten.bytes < 400_000
        assert outbox.backlog == 40
        assert outbox.dropped == 0


# --- killed (power cuts are in test_power_cut)


VICTIM = """
import asyncio, random, sys
from pathlib import Path
from botyard_edge.durable import SqliteOutbox
from botyard_edge.writing import Durability
from botyard_schemas import Event
from botyard_schemas.clock import SystemClock

async def main():
    path, mode = Path(sys.argv[1]), sys.argv[2]
    outbox = SqliteOutbox("r1", path, clock=SystemClock(), rng=random.Random(), durability=Durability(mode, 0.02))
    async with outbox:
        count = 0
        while True:
            seq = await outbox.put(Event("e", "info", str(count)))
            sys.stdout.write(f"{outbox.epoch} {seq} {count}\\n")
            sys.stdout.flush()
            count += 1
            if seq % 7 == 0:
                outbox.ack(outbox.epoch, seq - 3)
            await asyncio.sleep(0.0005)

asyncio.run(main())
"""


def _lived_for(seconds: float, path: Path, mode: str, first: int) -> list[str]:
    """What a process said until it was killed, so long after it had said so many lines."""
    command = [sys.executable, "-c", VICTIM, str(path), mode]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(first)]
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        return lines + process.stdout.read().splitlines(keepends=True)


@pytest.mark.parametrize("mode", ["group", "each"])
async def test_process_killed_at_random_times_gives_no_number_twice_and_keeps_what_it_promised(
    tmp_path: Path, mode: str
) -> None:
    dice = random.Random(7)
    path = tmp_path / "r1.db"
    given: dict[int, str] = {}
    epochs: set[str] = set()
    for life in range(8):
        first = 14 if life % 2 else 1  # so that there is something to lose, also where little is written in that time
        for line in await asyncio.to_thread(_lived_for, dice.uniform(0.0, 0.15), path, mode, first):
            if line.endswith("\n"):
                epoch, seq, text = line.split()
                assert int(seq) not in given
                given[int(seq)] = f"{life}.{text}"
                epochs.add(epoch)
        if mode == "each":
            copy = tmp_path / f"copy-{life}"
            kill_without_warning(path, copy)
            async with opened(copy / path.name) as outbox:
                kept = {entry.seq for entry in await everything(outbox)}
                mine = {seq for seq, text in given.items() if text.startswith(f"{life}.")}
                assert {seq for seq in mine if seq > outbox.acknowledged} <= kept
    assert len(epochs) == 1
    async with opened(path) as outbox:
        entries = await everything(outbox)
        spans = [span for data in dropped(entries) for span in data["ranges"]]
        here = {entry.seq for entry in entries}
        for number in given:
            assert number <= outbox.acknowledged or number in here or any(a <= number <= b for a, b in spans)
        assert len(given) > 50
