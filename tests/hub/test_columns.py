"""Columns, chunks and rollups: few bytes, and everything comes back as it was."""

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard.store import chunks, columns, compaction, hot, rollups
from botyard.store.compaction import Plan, Work
from botyard.store.rollups import HOUR, MINUTE

numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1000, 1000).map(lambda v: round(v, 3)),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -0.0, 0.1, 1e308, 5e-324]),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def exactly(values: list[Any]) -> list[str]:
    """Tells 1 from 1.0 and from true, and 0.0 from -0.0."""
    return [repr(value) for value in values]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.lists(numbers),
        st.lists(st.integers(-(2**65), 2**65)),
        st.lists(st.integers(-300, 300)),
        st.lists(st.booleans()),
        st.lists(numbers | st.integers(-(2**60), 2**60)),
        st.lists(numbers | st.none()),
        st.lists(json_values, max_size=10),
    )
)
def test_column_comes_back_as_it_was(values: list[Any]) -> None:
    assert exactly(columns.decode(columns.encode(values))) == exactly(values)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1)).map(sorted))
def test_times_come_back_as_they_were(times: list[int]) -> None:
    assert columns.decode(columns.encode_times(times)) == times


def walk(count: int, digits: int) -> list[float]:
    rng, at, found = random.Random(3), 20.0, []
    for _ in range(count):
        at += rng.gauss(0, 0.01)
        found.append(round(at, digits))
    return found


@pytest.mark.parametrize(
    ("values", "most"),
    [
        pytest.param([0.93] * 3000, 0.02, id="a constant"),
        pytest.param(walk(3000, 3), 1.0, id="a measured value of three digits"),
        pytest.param(walk(3000, 15), 7.0, id="all digits of a double"),
        pytest.param(list(range(3000)), 0.05, id="a counter"),
        pytest.param([n % 500 < 250 for n in range(3000)], 0.05, id="a switch"),
    ],
)
def test_column_takes_few_bytes_a_value(values: list[Any], most: float) -> None:
    assert len(columns.encode(values)) / len(values) <= most


def message(robot: str, ts: int, **channels: list[Any]) -> dict[str, Any]:
    count = len(next(iter(channels.values())))
    named = [{"name": name, "values": values} for name, values in channels.items()]
    return {"robot": robot, "ts": ts, "body": {"groups": [{"dt": [1000 * n for n in range(count)], "channels": named}]}}


def block(*messages: dict[str, Any]) -> bytes:
    return columns._json(list(messages))


def opened(plan: Plan) -> dict[tuple[str, str], list[tuple[int, Any]]]:
    """Everything that the chunks of a plan hold, by robot and channel."""
    found: dict[tuple[str, str], list[tuple[int, Any]]] = {}
    for chunk in plan.chunks:
        decoded = chunks.Decoded(chunk.data)
        for index, name in enumerate(compaction._names.decode(chunk.channels)):
            pairs = zip(decoded.times, decoded.column(index), strict=True)
            found.setdefault((chunk.robot, name), []).extend((t, v) for t, v in pairs if v is not None)
    return {key: sorted(pairs, key=lambda pair: pair[0]) for key, pairs in found.items()}


def test_channels_with_the_same_times_share_a_chunk() -> None:
    data = block(message("r", 10, a=[1.5, 2.5], b=[3.5, 4.5]), message("r", 20, c=[True]), message("s", 10, a=[1.0]))
    made = compaction.plan(Work(blocks=[(7, data)]))
    assert made.blocks == [7]
    assert [(chunk.robot, chunk.channels, chunk.rows, chunk.samples) for chunk in made.chunks] == [
        ("r", '["a","b"]', 2, 4),
        ("r", '["c"]', 1, 1),
        ("s", '["a"]', 1, 1),
    ]


values_or_gaps = st.lists(st.none() | st.floats(-9, 9).map(lambda v: round(v, 2)), min_size=1, max_size=4)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("rs"), st.integers(0, 3 * HOUR), st.sampled_from("abc"), values_or_gaps), max_size=12
    ),
    st.integers(1, 4),
)
def test_compacting_piece_by_piece_and_merging_gives_the_samples_and_the_rollups_of_all(
    sent: list[tuple[str, int, str, list[float | None]]], pieces: int
) -> None:
    messages = [message(robot, ts, **{channel: values}) for robot, ts, channel, values in sent]
    parts = [compaction.plan(Work(blocks=[(n, block(*messages[n::pieces]))])) for n in range(pieces)]
    merged = compaction.plan(
        Work(
            chunks=list(enumerate(chunk for part in parts for chunk in part.chunks)),
            rollups=list(enumerate(rollup for part in parts for rollup in part.rollups)),
        )
    )
    model: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for robot, ts, channel, values in sent:
        kept = [(ts + 1000 * n, value) for n, value in enumerate(values) if value is not None]
        if kept:
            model.setdefault((robot, channel), []).extend(kept)
    assert {key: sorted(pairs) for key, pairs in opened(merged).items()} == {
        key: sorted(pairs) for key, pairs in model.items()
    }
    for width in (MINUTE, HOUR):
        found: dict[tuple[str, str, int], rollups.Bucket] = {}
        for row in merged.rollups:
            if row.width == width:
                for channel, some in rollups.decode(row.data).items():
                    found |= {(row.robot, channel, bucket.ts): bucket for bucket in some}
        expected: dict[tuple[str, str, int], list[float]] = {}
        for (robot, channel), pairs in model.items():
            for ts, value in pairs:
                expected.setdefault((robot, channel, ts // width * width), []).append(value)
        assert found.keys() == expected.keys()
        for key, bucket in found.items():
            numbers = expected[key]
            assert (bucket.samples, bucket.min, bucket.max) == (len(numbers), min(numbers), max(numbers))
            assert math.isclose(bucket.mean, math.fsum(numbers) / len(numbers), rel_tol=1e-9, abs_tol=1e-9)


def test_chunk_is_never_longer_than_readers_rely_on() -> None:
    times = [n * chunks.SPAN // 3 for n in range(10)]
    made = list(chunks.encode("r", ["a"], times, [list(range(10))]))
    assert all(chunk.end - chunk.start <= chunks.SPAN for chunk in made)
    assert [row for chunk in made for row in chunks.Decoded(chunk.data).times] == times
    assert not any(chunk.small for chunk in made if chunk.end - chunk.start >= chunks.SPAN // 2)


def test_robots_are_in_the_shards_that_they_were_in() -> None:
    """Databases depend on it."""
    assert [hot.shard_of(robot) for robot in ("picker-7", "r", "a_b")] == [8, 29, 42]
