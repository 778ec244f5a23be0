import asyncio
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.blocking import Inline
from botyard_edge.driver import Channel, Geo, Pose, ReadingError
from botyard_edge.durable import SqliteOutbox
from botyard_edge.memory import MemoryOutbox
from botyard_edge.outbox import Entry, Limits
from botyard_edge.telemetry import Batcher, BatchLimits, TelemetryWriter
from botyard_edge.testing import VirtualClock, settle
from botyard_edge.writing import Durability
from botyard_schemas import Envelope, Telemetry, decode, encode

NAMES = ("a", "b", "c", "d")
NUMBERS = st.one_of(st.none(), st.floats(), st.integers(-1000, 1000))
ROWS = st.lists(st.tuples(st.integers(0, 50), st.dictionaries(st.sampled_from(NAMES), NUMBERS)), max_size=60)
NOW = 1_763_712_000_000_000


def over_the_wire(batch: Telemetry) -> Telemetry:
    body = decode(encode(Envelope("r1", NOW, batch, "e", 1))).body
    assert isinstance(body, Telemetry)
    return body


def samples(batches: list[Telemetry]) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    for batch in batches:
        for group in over_the_wire(batch).groups:
            for channel in group.channels:
                pairs = zip(group.dt, channel.values, strict=True)
                found.setdefault(channel.name, []).extend((NOW + dt, v) for dt, v in pairs if v is not None)
    return found


@given(ROWS, st.integers(1, 30), st.integers(300, 3000))
def test_every_finite_sample_comes_out_once_in_order_whatever_the_limits(
    rows: list[tuple[int, dict[str, Any]]], max_samples: int, max_bytes: int
) -> None:
    batcher = Batcher([Channel(name) for name in NAMES], max_samples=max_samples, max_bytes=max_bytes)
    expected: dict[str, list[tuple[int, Any]]] = {}
    batches: list[Telemetry] = []
    for ts, values in rows:
        batcher.add(ts, values)
        for name, value in values.items():
            if value is not None and math.isfinite(value):
                expected.setdefault(name, []).append((ts, float(value)))
        if batcher.full:
            batches += batcher.take(NOW, all_=False)
    batches += batcher.take(NOW)
    assert samples(batches) == expected
    for batch in batches:
        assert sum(v is not None for g in batch.groups for c in g.channels for v in c.values) <= max(max_samples, 4)
        assert all(any(v is not None for v in c.values) for g in batch.groups for c in g.channels)
        assert len(encode(Envelope("r1", NOW, batch, "e", 1))) <= max_bytes + 200


COLUMNS = st.lists(
    st.tuples(
        st.lists(st.sampled_from(NAMES), min_size=1, unique=True),
        st.lists(st.one_of(st.floats(allow_nan=True), st.none(), st.integers(-9, 9)), min_size=4, max_size=4),
        st.integers(0, 12),
    ),
    max_size=8,
)


@given(COLUMNS, st.integers(1, 30), st.integers(300, 3000))
async def test_columns_come_out_as_their_rows_would_whatever_the_limits(
    calls: list[tuple[list[str], list[Any], int]], max_samples: int, max_bytes: int
) -> None:
    channels = [Channel(name) for name in NAMES]
    by_row = Batcher(channels, max_samples=max_samples, max_bytes=max_bytes)
    by_column = Batcher(channels, max_samples=max_samples, max_bytes=max_bytes)
    rows: list[Telemetry] = []
    columns: list[Telemetry] = []
    for names, values, count in calls:
        whole = [value if index % 2 else float(index) for index, value in enumerate(values * 3)][:count]
        times = list(range(count))
        for ts, value in zip(times, whole, strict=True):
            by_row.add(ts, dict.fromkeys(names, value))
            rows += by_row.take(NOW, all_=False)
        block = by_column.block(dict.fromkeys(names, whole))
        at = 0
        while at < count:
            if block is None:
                by_column.add(times[at], dict.fromkeys(names, whole[at]))
                at += 1
            else:
                at = by_column.add_block(times, block, at)
            columns += by_column.take(NOW, all_=False)
    rows += by_row.take(NOW)
    columns += by_column.take(NOW)
    assert samples(columns) == samples(rows)
    for batch in columns:
        assert max(len(encode(Envelope("r1", NOW, batch, "e", 1))) - 120, 0) <= max_bytes or len(batch.groups) == 1
        held = sum(len(one.values) for group in batch.groups for one in group.channels)
        assert held <= max(max_samples, len(NAMES))


@given(st.lists(st.text(max_size=3000), min_size=1, max_size=200))
def test_texts_of_any_kind_stay_under_the_batch_size(texts: list[str]) -> None:
    batcher = Batcher([Channel("t", "text")], max_bytes=20_000)
    for index, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError:
            continue
        batcher.add(index, {"t": text})
    assert all(len(encode(Envelope("r1", NOW, b, "e", 1))) <= 20_200 for b in batcher.take(NOW))


def test_channels_of_one_rate_share_a_group_and_those_of_another_do_not() -> None:
    batcher = Batcher([Channel(name) for name in NAMES])
    for ts in range(10):
        batcher.add(ts, {"a": ts})
        batcher.add(ts, {"b": -ts})
        if ts % 5 == 0:
            batcher.add(ts, {"c": 0.5, "d": 1.5})
    (batch,) = batcher.take(0)
    assert [[c.name for c in g.channels] for g in batch.groups] == [["a", "b"], ["c", "d"]]
    assert batch.groups[1].dt == [0, 5]


def test_samples_that_are_not_finite_become_gaps_and_empty_columns_are_left_out() -> None:
    batcher = Batcher([Channel("a"), Channel("b"), Channel("c")])
    batcher.add(0, {"a": math.nan, "b": 1.0, "c": math.inf})
    batcher.add(1, {"a": 2.0, "b": -math.inf, "c": math.nan})
    batcher.add(2, {"a": math.nan, "b": math.nan, "c": None})
    (batch,) = batcher.take(0)
    assert [(c.name, c.values) for c in batch.groups[0].channels] == [("a", [None, 2.0]), ("b", [1.0, None])]
    assert batch.groups[0].dt == [0, 1]


def test_row_that_is_larger_than_a_batch_is_split_between_batches() -> None:
    channels = [Channel(f"c{i}", "text") for i in range(50)]
    batcher = Batcher(channels, max_samples=20_000, max_bytes=10_000)
    batcher.add(7, {channel.name: "x" * 1000 for channel in channels})
    batches = batcher.take(NOW)
    assert len(batches) > 1
    assert samples(batches) == {channel.name: [(7, "x" * 1000)] for channel in channels}


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("number", "12", "expected a number"),
        ("number", True, "expected a number"),
        ("integer", 1.5, "expected an integer"),
        ("integer", 2**53, "at most 53 bits"),
        ("boolean", 1, "expected true or false"),
        ("text", 5, "expected text"),
        ("text", "x" * 65537, "at most 65536 characters"),
        ("object", "x", "expected an object"),
        ("pose", (1, 2), "expected a Pose"),
        ("geo", Geo(91.0, 0.0), "latitude within 90"),
    ],
)
def test_value_of_another_type_is_refused_with_channel_and_expectation(kind: Any, value: Any, reason: str) -> None:
    batcher = Batcher([Channel("x", kind)])
    with pytest.raises(ReadingError, match=rf"channel 'x': .* is not a value of type {kind}: .*{reason}"):
        batcher.add(0, {"x": value})
    assert not batcher


def test_channel_that_was_not_declared_is_refused() -> None:
    with pytest.raises(ReadingError, match="channel 'y' was published but not declared"):
        Batcher([Channel("x")]).add(0, {"y": 1})


def test_values_of_every_type_keep_the_contract() -> None:
    kinds: dict[str, Any] = {
        "number": 1.5,
        "integer": -3,
        "boolean": True,
        "text": "ä\x00",
        "object": {"n": math.nan},
        "pose": Pose("plan", 1.0, 2.0, 3.0),
        "geo": Geo(47.0, 8.0, math.nan, -10.0),
    }
    batcher = Batcher([Channel(kind, kind) for kind in kinds])  # type: ignore[arg-type]
    batcher.add(NOW, kinds)
    found = {name: pairs[0][1] for name, pairs in samples(batcher.take(NOW)).items()}
    assert found["geo"] == {"lat": 47.0, "lon": 8.0, "heading": 350.0}
    assert found["object"] == {"n": None}
    assert found["pose"] == {"frame": "plan", "x": 1.0, "y": 2.0, "yaw": 3.0}
    assert {name: found[name] for name in ("number", "integer", "boolean", "text")} == {
        "number": 1.5,
        "integer": -3,
        "boolean": True,
        "text": "ä\x00",
    }


class Writing:
    """A writer on virtual time with its outbox."""

    def __init__(self, *, limits: BatchLimits, lossless: bool = False, room: int = 1000) -> None:
        self.clock = VirtualClock()
        self.outbox = MemoryOutbox("r1", clock=self.clock, rng=random.Random(1), limits=Limits(messages=room))
        self.writer = TelemetryWriter([Channel("a")], self.outbox, clock=self.clock, limits=limits, lossless=lossless)


async def test_batch_is_closed_by_age_on_the_clocks_time() -> None:
    w = Writing(limits=BatchLimits(max_samples=100, max_age=2.0))
    async with w.outbox:
        task = asyncio.create_task(w.writer.run())
        await w.writer.publish(w.clock.now(), {"a": 1})
        await w.clock.advance(1.9)
        assert w.outbox.backlog == 0
        await w.clock.advance(0.2)
        assert w.outbox.backlog == 1
        (group,) = decode((await w.outbox.read(0, 1))[0].payload).body.groups  # type: ignore[union-attr]
        assert group.dt == [-2_000_000]
        await w.clock.advance(60)
        assert w.outbox.backlog == 1
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        w.outbox.ack(w.outbox.epoch, 1)


async def test_lossless_writer_waits_for_room_and_loses_nothing() -> None:
    w = Writing(limits=BatchLimits(max_samples=1), lossless=True, room=10)
    async with w.outbox:
        task = asyncio.create_task(w.writer.publish_columns(range(50), {"a": list(range(50))}))
        got: list[Any] = []
        for _ in range(200):
            await settle()
            entries = await w.outbox.read(0, 3)
            for entry in entries:
                got += decode(entry.payload).body.groups[0].channels[0].values  # type: ignore[union-attr]
                w.outbox.ack(w.outbox.epoch, entry.seq)
        assert task.done()
        assert got == list(range(50))
        assert w.outbox.dropped == 0


def values(entries: list[Entry]) -> list[Any]:
    bodies = [decode(entry.payload).body for entry in entries]
    return [v for body in bodies if isinstance(body, Telemetry) for v in body.groups[0].channels[0].values]


async def test_lossless_writer_cancelled_while_it_waits_for_room_loses_nothing() -> None:
    w = Writing(limits=BatchLimits(max_samples=1), lossless=True, room=10)
    async with w.outbox:
        for _ in range(3):
            task = asyncio.create_task(w.writer.publish_columns(range(20), {"a": list(range(20))}))
            await settle()
            assert w.outbox.backlog == 9, "all that fits without the reserve"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await w.clock.advance(1)
        taken = [0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0]  # each publisher got as far as its first sample that had to wait
        flush = asyncio.create_task(w.writer.flush())
        await settle()
        w.outbox.ack(w.outbox.epoch, 2)
        await settle()
        w.outbox.ack(w.outbox.epoch, 4)
        await flush
        assert values(await w.outbox.read(0, 100)) == taken[4:]


async def test_lossless_writer_flushed_without_waiting_takes_the_reserve() -> None:
    w = Writing(limits=BatchLimits(max_samples=1), lossless=True, room=10)
    async with w.outbox:
        task = asyncio.create_task(w.writer.publish_columns(range(10), {"a": list(range(10))}))
        await settle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await w.writer.flush(wait=False)
        assert values(await w.outbox.read(0, 100)) == list(range(10))
        assert w.outbox.dropped == 0


async def test_writer_cancelled_while_the_disk_is_slow_doubles_nothing(tmp_path: Path) -> None:
    class Slow(Inline):
        async def run(self, work: Callable[[], Any]) -> Any:
            await clock.sleep(1.0)
            return work()

    clock = VirtualClock()
    outbox = SqliteOutbox(
        "r1", tmp_path / "r1.db", clock=clock, rng=random.Random(1), elsewhere=Slow(), durability=Durability("each")
    )
    opening = asyncio.create_task(outbox.__aenter__())
    await clock.advance_until(opening.done, limit=60)
    limits = BatchLimits(max_samples=1)
    writer = TelemetryWriter([Channel("a")], outbox, clock=clock, limits=limits, lossless=True)
    publishing = asyncio.create_task(writer.publish(clock.now(), {"a": 1}))
    await settle()
    publishing.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    flushing = asyncio.create_task(writer.flush())
    await clock.advance_until(flushing.done, limit=60)
    assert values(await outbox.read(0, 100)) == [1]
    closing = asyncio.create_task(outbox.__aexit__(None, None, None))
    await clock.advance_until(closing.done, limit=60)


async def test_columns_of_unequal_length_are_refused() -> None:
    w = Writing(limits=BatchLimits())
    with pytest.raises(ReadingError, match="channel 'a': 1 values for 2 times"):
        await w.writer.publish_columns([1, 2], {"a": [1]})


@pytest.mark.parametrize(
    "rows",
    [
        [(1, "ab"), (2, "b"), (3, "ab")],
        [(1, "ab"), (2, "a"), (3, "ab")],
        [(1, "a"), (2, "c"), (1, "cd")],
        [(1, "a"), (2, "ab"), (1, "b"), (1, "a")],
    ],
)
def test_channel_that_changes_its_company_keeps_the_order_of_its_samples(rows: list[tuple[int, str]]) -> None:
    batcher = Batcher([Channel(name) for name in NAMES])
    expected: dict[str, list[tuple[int, Any]]] = {}
    for index, (ts, names) in enumerate(rows):
        batcher.add(ts, dict.fromkeys(names, index))
        for name in names:
            expected.setdefault(name, []).append((ts, float(index)))
    assert samples(batcher.take(NOW)) == expected
