"""What every store must do, whatever database is behind it. Another backend joins by a line in `BACKENDS`."""

import asyncio
import itertools
import math
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Self, cast

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard.ingest.tracker import MAX_EPOCHS, Seen, Tracker
from botyard.store.base import (
    Batch,
    BucketRow,
    Committed,
    EventRow,
    InvalidCursorError,
    Page,
    Position,
    QuarantineRow,
    ReportRow,
    RobotRow,
    Sample,
    StateRow,
    Store,
    StoreError,
)
from botyard.store.factory import open_store
from botyard.store.frames import KEPT_EPOCHS
from botyard.store.sqlite_writer import FOLD_AFTER
from tests.hub.support import Column, filled, telemetry

# Each makes the URL of a new database.
BACKENDS: dict[str, Callable[[pytest.FixtureRequest], str]] = {
    "sqlite": lambda request: f"sqlite:{request.getfixturevalue('tmp_path') / 'hub.db'}",
    "postgres": lambda request: request.getfixturevalue("postgres_url")(),
}

Open = Callable[..., AbstractAsyncContextManager[Store]]


@pytest.fixture(params=BACKENDS)
def url(request: pytest.FixtureRequest) -> str:
    """A new database."""
    return BACKENDS[request.param](request)


@pytest.fixture(params=["as it came", "compacted", "half of it compacted"])
def form(request: pytest.FixtureRequest) -> str:
    """In which form telemetry is when it is read."""
    return str(request.param)


@pytest.fixture
def opened(url: str) -> Open:
    """Opens the same database each time that it is called."""
    return lambda **options: open_store(url, **options)


@pytest.fixture
def formed(url: str, form: str) -> Callable[[], Store]:
    """A store of the same database each time, in which telemetry takes its form at once."""
    return lambda: cast("Store", Formed(open_store(url), form))


class Formed:
    """A store that compacts after each commit, or after every other one."""

    def __init__(self, store: Store, form: str) -> None:
        self._store = store
        self._every = {"as it came": 0, "compacted": 1, "half of it compacted": 2}[form]
        self._commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._store.__aexit__(*exc)

    async def commit(self, batch: Batch) -> Committed:
        committed = await self._store.commit(batch)
        self._commits += 1
        if self._every and self._commits % self._every == 0:
            await self._store.compact()
        return committed


def column(*samples: tuple[int, Any], robot: str = "r", channel: str = "c", kind: Any = "number") -> Column:
    return Column(robot, channel, kind, None, [ts for ts, _ in samples], [value for _, value in samples])


def event(ts: int, name: str = "e", **fields: Any) -> EventRow:
    return EventRow(**{"ts": ts, "robot": "r", "actor": "robot:r", "name": name, "severity": "info", **fields})


def refused(received: int, robot: str | None = "r", reason: str = "schema") -> QuarantineRow:
    return QuarantineRow(
        received=received, robot=robot, topic="t", reason=reason, detail="d", size=3, payload=f"\ufffd\x00{received}"
    )


def robot_row(robot: str = "r", **fields: Any) -> RobotRow:
    return RobotRow(**{"id": robot, "created": 5, "name": "Picker", "type": "amr", **fields})


async def all_samples(store: Store, limit: int, **query: Any) -> list[Sample]:
    found: list[Sample] = []
    cursor = None
    while True:
        page = await store.samples(limit=limit, cursor=cursor, **query)
        assert len(page.items) <= limit
        found += page.items
        if page.next is None:
            return found
        assert len(page.items) == limit
        cursor = page.next


VALUES = [
    ("number", 1.5),
    ("number", -0.1),
    ("number", 1e308),
    ("number", 5e-324),
    ("number", 7),
    ("integer", 0),
    ("integer", 2**53 - 1),
    ("integer", -(2**53) + 1),
    ("integer", 2**53 + 1),
    ("integer", 2**63),
    ("integer", -(10**30)),
    ("integer", 10**400),
    ("boolean", True),
    ("boolean", False),
    ("text", ""),
    ("text", "naïve \x00 🤖"),
    ("object", {"a": [1, None, {"b": 2.5, "c": 10**30}]}),
    ("pose", {"frame": "hall", "x": 1.25, "y": -2.0, "yaw": 0.5, "z": 0.0}),
    ("geo", {"lat": 52.5, "lon": 13.4, "alt": None}),
]


async def test_value_of_each_type_comes_back_as_it_was_after_reopening(formed: Callable[[], Store]) -> None:
    async with formed() as store:
        half = len(VALUES) // 2
        columns = [column((7, value), kind=type_, channel=f"c{n}") for n, (type_, value) in enumerate(VALUES)]
        await store.commit(filled(columns=columns[:half]))
        await store.commit(filled(columns=columns[half:]))
    async with formed() as store:
        for n, (_, value) in enumerate(VALUES):
            (sample,) = (await store.samples(channels=[f"c{n}"])).items
            assert (sample, type(sample.value)) == (Sample("r", f"c{n}", 7, value), type(value))
            assert await store.latest("r", [f"c{n}"]) == [sample]


async def test_samples_are_counted_wherever_they_are(formed: Callable[[], Store]) -> None:
    async with formed() as store:
        for n in range(3):
            columns = [column((n, 1.0), (10 + n, 2.0)), column((n, None), (10 + n, 5.0), channel="y")]
            await store.commit(filled(columns=columns))
            if n == 1:
                await store.compact()
        assert await store.counts() == {("r", "c"): 6, ("r", "y"): 3}


async def test_integer_written_as_a_float_in_an_integer_channel_comes_back_as_an_integer(
    formed: Callable[[], Store],
) -> None:
    async with formed() as store:
        await store.commit(filled(columns=[column((1, 5.0), (2, 5.5), kind="integer")]))
        assert [repr(sample.value) for sample in (await store.samples()).items] == ["5", "5.5"]


async def test_values_that_json_lacks_are_gaps_and_harm_no_neighbour(formed: Callable[[], Store]) -> None:
    async with formed() as store:
        await store.commit(filled(columns=[column((1, math.nan), (2, math.inf), (3, 1.5))]))
        assert [sample.value for sample in (await store.samples()).items] == [1.5]


async def test_channel_that_changes_its_type_keeps_all_samples_and_says_the_new_type(
    formed: Callable[[], Store],
) -> None:
    async with formed() as store:
        await store.commit(filled(columns=[column((1, 3), kind="integer")]))
        await store.commit(filled(columns=[Column("r", "c", "text", "m", [2], ["three"])]))
        await store.commit(filled(columns=[Column("r", "c", "boolean", "1", [3], [True])]))
        assert [sample.value for sample in (await store.samples()).items] == [3, "three", True]
        (channel,) = await store.channels("r")
        assert (channel.type, channel.unit) == ("boolean", "1")
        assert await store.aggregate("r", "c", start=0, end=10, bucket=10) == [BucketRow(0, 2, 1.0, 3.0, 2.0, 1.0)]


async def test_samples_of_the_same_time_all_survive_in_the_order_of_their_coming(formed: Callable[[], Store]) -> None:
    async with formed() as store:
        await store.commit(filled(columns=[column((1, "a"), (1, "b"), kind="text"), column((1, "c"), kind="text")]))
        await store.commit(filled(columns=[column((1, "d"), kind="text")]))
        assert [sample.value for sample in await all_samples(store, 3)] == ["a", "b", "c", "d"]


async def test_samples_beside_each_filter_are_left_out(formed: Callable[[], Store]) -> None:
    async with formed() as store:
        wanted = itertools.product("ab", "xy")
        await store.commit(filled(columns=[column((1, 1), (2, 2), (3, 3), robot=r, channel=c) for r, c in wanted]))

        async def found(**query: Any) -> list[tuple[str, str, int]]:
            return [(sample.robot, sample.channel, sample.ts) for sample in (await store.samples(**query)).items]

        assert await found(robots=["a"], channels=["y"], start=2, end=3) == [("a", "y", 2)]
        assert await found(start=3) == [(r, c, 3) for r, c in itertools.product("ab", "xy")]
        assert await found(robots=[]) == await found(channels=[]) == await found(robots=["z"]) == []
        assert await found(start=-(10**30), end=10**30, robots=["b"], channels=["x"], limit=1) == [("b", "x", 1)]


async def test_samples_are_refused_a_cursor_that_is_not_theirs(opened: Open) -> None:
    async with opened() as store:
        await store.commit(filled(events=[event(1), event(2)], columns=[column((1, 1), (2, 2))]))
        theirs = (await store.events(limit=1)).next
        assert theirs is not None
        mine = (await store.samples(limit=1)).next
        assert mine is not None
        for wrong in (
            theirs,
            "",
            "x",
            "é",
            "====",
            mine + "=",
            mine[:-1],
            "c2FtcGxlczo5OTk5OTk5OTk5OTk5OTk5OTk5OTk6MQ",
        ):
            with pytest.raises(InvalidCursorError, match="cursor"):
                await store.samples(cursor=wrong)
        with pytest.raises(InvalidCursorError):
            await store.events(cursor=mine)
        with pytest.raises(InvalidCursorError):
            await store.quarantined(cursor=theirs)


async def test_limit_that_is_not_positive_is_refused(opened: Open) -> None:
    async with opened() as store:
        for limit in (0, -1):
            with pytest.raises(ValueError, match=f"limit: {limit}"):
                await store.samples(limit=limit)


samples_of_series = st.dictionaries(
    st.tuples(st.sampled_from("ab"), st.sampled_from("xyz")), st.lists(st.integers(-3, 3), max_size=8), max_size=6
)


def test_pages_of_samples_together_are_the_sorted_list_of_all(formed: Callable[[], Store]) -> None:
    counter = itertools.count()
    store = formed()
    with asyncio.Runner() as runner:

        @settings(max_examples=40, deadline=None)
        @given(st.lists(samples_of_series, max_size=3), st.integers(1, 7), st.integers(-4, 4), st.integers(-4, 4))
        def check(batches: list[dict[tuple[str, str], list[int]]], limit: int, start: int, end: int) -> None:
            mark = f"{next(counter)}-"
            values = itertools.count()
            model = []
            for batch in batches:
                columns = []
                for (robot, channel), times in batch.items():
                    columns.append(column(*((ts, next(values)) for ts in times), robot=mark + robot, channel=channel))
                    model += [
                        Sample(mark + robot, channel, *pair) for pair in zip(times, columns[-1].values, strict=True)
                    ]
                runner.run(store.commit(filled(columns=columns)))
            expected = sorted(
                (s for s in model if start <= s.ts < end), key=lambda s: (s.ts, s.robot, s.channel, s.value)
            )
            query = {"robots": [mark + "a", mark + "b"], "start": start, "end": end}
            found = runner.run(all_samples(store, limit, **query))
            assert [(s.ts, s.robot, s.channel) for s in found] == [(s.ts, s.robot, s.channel) for s in expected]
            # merged chunks may change places with others, which only samples of one time and channel show
            assert sorted(found, key=lambda s: (s.ts, s.robot, s.channel, s.value)) == expected

        runner.run(store.__aenter__())
        try:
            check()
        finally:
            runner.run(store.__aexit__(None, None, None))


async def test_latest_is_the_newest_by_time_and_then_by_coming(formed: Callable[[], Store]) -> None:
    async with formed() as store:
        await store.commit(filled(columns=[column((5, "new"), (1, "old"), (5, "newer"), kind="text")]))
        await store.commit(filled(columns=[column((3, "late"), kind="text"), column((0, 1), channel="b")]))
        assert await store.latest("r") == [Sample("r", "b", 0, 1), Sample("r", "c", 5, "newer")]
        assert await store.latest("r", ["b", "nothing"]) == [Sample("r", "b", 0, 1)]
        assert await store.latest("r", []) == await store.latest("other") == []


def test_aggregate_equals_what_python_computes(formed: Callable[[], Store]) -> None:
    counter = itertools.count()
    store = formed()
    numbers = (
        st.floats(-1e9, 1e9) | st.booleans() | st.integers(-(10**6), 10**6) | st.just(1.7e308) | st.text(max_size=2)
    )
    rows = st.lists(st.tuples(st.integers(-50, 50), numbers), max_size=20)
    with asyncio.Runner() as runner:

        @settings(max_examples=40, deadline=None)
        @given(rows, st.integers(1, 20), st.integers(-60, 60), st.integers(-60, 60))
        def check(rows: list[tuple[int, Any]], bucket: int, start: int, end: int) -> None:
            robot = str(next(counter))
            runner.run(store.commit(filled(columns=[column(*rows, robot=robot)])))
            slots: dict[int, list[Any]] = {}
            for ts, value in rows:
                if start <= ts < end and not isinstance(value, str):
                    slots.setdefault(ts // bucket * bucket, []).append(value)
            found = runner.run(store.aggregate(robot, "c", start=start, end=end, bucket=bucket))
            assert [(row.ts, row.count, row.min, row.max) for row in found] == [
                (ts, len(values), min(values), max(values)) for ts, values in sorted(slots.items())
            ]
            for row in found:
                exact = math.fsum(value / len(slots[row.ts]) for value in slots[row.ts])
                assert math.isclose(row.mean, exact, rel_tol=1e-9, abs_tol=max(abs(row.min), abs(row.max)) * 1e-12)

        runner.run(store.__aenter__())
        try:
            check()
        finally:
            runner.run(store.__aexit__(None, None, None))


async def test_aggregate_of_an_unknown_channel_or_an_impossible_width_is_empty_or_refused(opened: Open) -> None:
    async with opened() as store:
        assert await store.aggregate("r", "c", start=0, end=10, bucket=1) == []
        with pytest.raises(ValueError, match="bucket: 0"):
            await store.aggregate("r", "c", start=0, end=10, bucket=0)


async def test_events_get_growing_ids_and_come_newest_first_with_everything_in_them(opened: Open) -> None:
    first = event(
        5, "docking.failed", severity="error", message="no", data={"n": [1, None]}, cause="x", epoch="e", seq=4
    )
    async with opened() as store:
        ids = (await store.commit(Batch(events=[first, event(5, robot=None, actor="hub")]))).event_ids
        ids += (await store.commit(Batch(events=[event(4)]))).event_ids
        assert ids == sorted(set(ids))
        page = await store.events()
        assert [(row.id, row.ts) for row in page.items] == [(ids[1], 5), (ids[0], 5), (ids[2], 4)]
        stored = msgspec.structs.asdict(page.items[1])
        assert stored == {"id": ids[0], **msgspec.structs.asdict(first)}


async def test_events_beside_each_filter_are_left_out(opened: Open) -> None:
    names = ["docking", "docking.failed", "docking_x", "dockin", "DOCKING.failed", "docking.", "docking%"]
    async with opened() as store:
        await store.commit(Batch(events=[event(ts, name) for ts, name in enumerate(names)]))
        await store.commit(Batch(events=[event(10, "stop", robot="s", severity="critical"), event(11, robot=None)]))

        async def found(**query: Any) -> list[int]:
            return [row.ts for row in (await store.events(**query)).items]

        assert await found(name="docking") == [5, 1, 0]
        assert await found(name="doc") == []
        assert await found(robot="s") == await found(severities=["critical", "debug"]) == [10]
        assert await found(severities=[]) == []
        assert await found(start=6, end=11) == [10, 6]
        assert await found(name="docking", start=1, end=2, robot="r", severities=["info"]) == [1]


async def test_pages_of_events_neither_skip_nor_repeat_while_new_ones_come(opened: Open) -> None:
    async with opened() as store:
        ids = (await store.commit(Batch(events=[event(i // 4) for i in range(10)]))).event_ids
        found, cursor = [], None
        while True:
            page = await store.events(limit=3, cursor=cursor)
            found += [row.id for row in page.items]
            await store.commit(Batch(events=[event(100)]))
            cursor = page.next
            if cursor is None:
                break
        assert found == ids[::-1]


async def test_quarantine_keeps_the_newest_of_each_robot_and_of_nobody(opened: Open) -> None:
    async with opened(quarantine_limit=3) as store:
        await store.commit(Batch(quarantine=[refused(i) for i in range(5)] + [refused(9, "s")]))
        await store.commit(Batch(quarantine=[refused(i, None, "malformed_json") for i in range(4)]))
        await store.commit(Batch(quarantine=[refused(5)]))
        page = await store.quarantined()
        assert [(row.robot, row.received) for row in page.items] == [
            *[("r", 5), (None, 3), (None, 2), (None, 1), ("s", 9), ("r", 4), ("r", 3)]
        ]
        assert page.items[0].payload == "\ufffd\x005"
        assert [row.received for row in (await store.quarantined(robot="r")).items] == [5, 4, 3]
        first = await store.quarantined(reason="malformed_json", limit=2)
        rest = await store.quarantined(reason="malformed_json", limit=2, cursor=first.next)
        assert [[row.received for row in page.items] for page in (first, rest)] == [[3, 2], [1]]
        assert rest.next is None


async def test_only_the_last_state_of_a_robot_is_kept_whatever_its_time(opened: Open) -> None:
    rows = [StateRow(robot="r", ts=ts, body=body) for ts, body in ((9, b'{"a":1}'), (4, '{"mode":"ü"}'.encode()))]
    async with opened() as store:
        for row in rows:
            await store.commit(Batch(states=[row]))
            assert await store.states() == [row]
        await store.commit(Batch(states=[*rows, rows[0]]))
        assert await store.states() == [rows[0]]


async def test_positions_are_replaced_by_epoch_and_survive_reopening(opened: Open) -> None:
    async with opened() as store:
        await store.commit(Batch(positions=[Position("r", "one", 5, ((7, 9), (11, 11))), Position("r", "two", 1)]))
        await store.commit(Batch(positions=[Position("r", "one", 11)]))
    async with opened() as store:
        assert await store.positions() == [Position("r", "two", 1), Position("r", "one", 11)], (
            "in the order of their use"
        )


async def test_positions_of_old_epochs_go_and_those_in_use_stay(opened: Open) -> None:
    newest = 60
    async with opened() as store:
        await store.commit(Batch(positions=[Position("other", f"{n}", n) for n in range(1, KEPT_EPOCHS + 1)]))
        for n in range(1, newest + 1):  # a robot that begins anew and anew, beside one epoch that goes on
            for _ in range(FOLD_AFTER // 16):
                await store.commit(Batch(positions=[Position("r", "goes on", n), Position("r", f"{n}", n)]))
    async with opened() as store:
        kept = [position for position in await store.positions() if position.robot == "r"]
        assert Position("r", "goes on", newest) in kept
        assert {Position("r", f"{n}", n) for n in range(newest - KEPT_EPOCHS + 2, newest + 1)} <= set(kept)
        assert len(kept) <= KEPT_EPOCHS + 2 * 16
        assert len(await store.positions()) - len(kept) == KEPT_EPOCHS


@pytest.mark.parametrize("folded", [True, False])
async def test_epoch_that_comes_back_between_others_is_known_after_a_restart(opened: Open, folded: bool) -> None:
    """A robot whose recordings are played again and again: each time has an epoch of its own."""
    times = 13 if folded else 1  # more than `FOLD_AFTER` in all, or fewer
    async with opened() as store:
        for n in range(MAX_EPOCHS + 2):
            for epoch in ("own", f"play {n}"):
                for _ in range(times):
                    await store.commit(Batch(positions=[Position("r", epoch, 500)]))
    async with opened() as store:
        tracker = Tracker(await store.positions())
    assert tracker.offer("r", "play", 1) is Seen.NEW
    tracker.settled([("r", "play")])
    assert tracker.offer("r", "own", 500) is Seen.DUPLICATE


def test_store_remembers_more_epochs_than_ingest() -> None:
    assert KEPT_EPOCHS > MAX_EPOCHS


BROKEN = [
    pytest.param({"blocks": telemetry([column((2**63, 1))])}, "large|range|big", id="a time beyond 64 bits"),
    pytest.param({"events": [event(1, data={"\ud800": 1})]}, "surrogate", id="text that is no Unicode"),
    pytest.param({"events": [event(1), event(2, actor=None)]}, "(?i)not.null", id="a missing actor"),
]


@pytest.mark.parametrize(("part", "sentence"), BROKEN)
async def test_batch_with_a_part_that_fails_leaves_nothing(opened: Open, part: dict[str, Any], sentence: str) -> None:
    fine: dict[str, Any] = {
        "blocks": telemetry([column((1, 1), channel="fine")]),
        "events": [event(1)],
        "reports": [ReportRow(ts=1, robot="r", command="c", status="running", body=b"{}", epoch="e", seq=1)],
        "states": [StateRow(robot="r", ts=1, body=b"{}")],
        "quarantine": [refused(1)],
        "positions": [Position("r", "e", 1)],
    }
    async with opened() as store:
        with pytest.raises(StoreError, match=sentence):
            await store.commit(Batch(**{**fine, **{name: fine[name] + rows for name, rows in part.items()}}))
        pages: list[Page[Any]] = [await store.samples(), await store.events(), await store.quarantined()]
        assert [page.items for page in pages] == [[], [], []]
        assert [*await store.channels("r"), *await store.states(), *await store.positions()] == []
        await store.commit(Batch(**fine))  # the series that was rolled back is not taken for known
        assert [row.channel for row in await store.channels("r")] == ["fine"]
        assert await store.latest("r") == [Sample("r", "fine", 1, 1)]


async def test_commits_in_flight_together_are_all_done_in_their_order(opened: Open) -> None:
    async with opened() as store:
        batches = [filled(events=[event(i)], columns=[column((0, i))]) for i in range(100)]
        ids = [committed.event_ids[0] for committed in await asyncio.gather(*map(store.commit, batches))]
        assert ids == sorted(ids)
        assert [sample.value for sample in await all_samples(store, 30)] == list(range(100))


async def test_robot_is_added_changed_and_listed_by_id(opened: Open) -> None:
    async with opened() as store:
        first = robot_row(tags=("a", "ü"), group="g", notes="n", accepted=False, retired=7)
        await store.add_robot(first)
        await store.add_robot(robot_row("b"))
        assert await store.robots() == [robot_row("b"), first]
        await store.change_robot(robot_row(name="new"))
        with pytest.raises(KeyError, match="r"):
            await store.add_robot(robot_row())
        for unknown in (store.change_robot(robot_row("x")), store.remove_robot("x")):
            with pytest.raises(KeyError, match="x"):
                await unknown
        await store.commit(Batch())  # an error before harms nothing after it
    async with opened() as store:
        assert await store.robots() == [robot_row("b"), robot_row(name="new")]


async def test_removed_robot_takes_along_what_it_sent_but_not_what_was_seen(formed: Callable[[], Store]) -> None:
    def of(robot: str) -> Batch:
        many = [(i, i) for i in range(6000)]  # more than one slice
        return filled(
            columns=[column(*many, robot=robot), column((1, 1), robot=robot, channel="d")],
            events=[event(1, robot=robot, epoch="e", seq=1), event(2, "robot.added", robot=robot, actor="user:ann")],
            states=[StateRow(robot=robot, ts=1, body=b"{}")],
            quarantine=[refused(1, robot)],
            positions=[Position(robot, "e", 1)],
        )

    async with formed() as store:
        for robot in "rs":
            await store.add_robot(robot_row(robot))
            await store.commit(of(robot))
        await store.remove_robot("r")
        assert await store.robots() == [robot_row("s")]
        assert [*await store.channels("r"), *await store.latest("r")] == []
        assert len(await all_samples(store, 4000)) == 6001
        assert [row.name for row in (await store.events(robot="r")).items] == ["robot.added"]
        assert (
            [row.robot for row in (await store.quarantined()).items]
            == [row.robot for row in await store.states()]
            == ["s"]
        )
        assert [row.robot for row in await store.positions()] == ["r", "s"]
        await store.commit(of("r"))  # it is back: its series are made anew
        assert [row.channel for row in await store.channels("r")] == ["c", "d"]


async def test_two_stores_in_one_process_hold_different_data(opened: Open, tmp_path: Path) -> None:
    async with opened() as a, open_store(f"sqlite:{tmp_path}/b.db") as b:
        await a.add_robot(robot_row("a"))
        await b.add_robot(robot_row("b"))
        rows = await asyncio.gather(*[store.robots() for store in (a, b) * 10])
        assert [row.id for found in rows for row in found] == ["a", "b"] * 10


async def test_ping_answers_while_open_and_raises_when_closed(opened: Open) -> None:
    async with opened() as store:
        await store.ping()
    with pytest.raises(StoreError, match="closed"):
        await store.ping()
