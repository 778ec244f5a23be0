import asyncio
import builtins
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.config import OutboxSettings
from botyard_edge.driver import ConfigurationError, Driver, Severity
from botyard_edge.link import LinkSettings
from botyard_edge.outbox import Limits
from botyard_edge.telemetry import BatchLimits
from botyard_edge.testing import VirtualClock
from botyard_plugins.replay.csvfile import load_csv
from botyard_plugins.replay.px4 import CURATED, unit_of
from botyard_plugins.replay.recording import LoggedEvent, Recording, RecordingError, Stream, slices
from botyard_plugins.replay.ulogfile import heading, load_ulog
from botyard_schemas import Event, State, Telemetry
from tests.plugins.conftest import Notes

Make = Callable[..., Driver]
START = 1_763_712_000_000_000


async def played(driver: Driver, clock: VirtualClock, seconds: float = 0.0) -> Notes:
    notes = Notes(clock)
    async with driver:
        task = asyncio.create_task(driver.run(notes))
        await clock.advance(seconds)
        if task.done():
            task.result()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return notes


def csv(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


# --- what a recording is -------------------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.integers(0, 10_000), max_size=30).map(sorted), min_size=1, max_size=4),
    st.lists(st.integers(0, 10_000), max_size=10).map(sorted),
    st.integers(1, 3000),
)
def test_slices_hold_every_row_once_and_in_order(times: list[list[int]], events: list[int], width: int) -> None:
    if not any(times) and not events:
        return
    streams = [Stream(str(i), ts, {str(i): list(range(len(ts)))}, []) for i, ts in enumerate(times)]
    logged = [LoggedEvent(ts, "e", "info", "", {}) for ts in events]
    rows: dict[str, list[int]] = {stream.name: [] for stream in streams}
    seen: list[int] = []
    ends = [0]
    for part in slices(Recording(Path("x"), streams, logged), width):
        assert part.rows or part.events
        for stream, first, last in part.rows:
            rows[stream.name] += stream.ts[first:last]
            assert all(ends[-1] <= ts + width < part.end + width for ts in stream.ts[first:last])
        seen += [event.ts for event in part.events]
        assert part.end > ends[-1]
        ends.append(part.end)
    assert list(rows.values()) == times
    assert seen == events


# --- CSV ------------------------------------------------------------------------------------------------------------


def test_csv_has_units_types_and_gaps(tmp_path: Path) -> None:
    recording = load_csv(
        csv(tmp_path, "time [ms],temp [Cel],on,note, two words ,n[0]\n0,20.5,true,a,1,5\n100,,false,,2,nan\n\n")
    )
    (stream,) = recording.streams
    assert stream.ts == [0, 100_000]
    assert [(c.name, c.type, c.unit) for c in stream.channels] == [
        ("temp", "number", "Cel"),
        ("on", "boolean", None),
        ("note", "text", None),
        ("two_words", "number", None),
        ("n[0]", "number", None),
    ]
    assert stream.columns["temp"] == [20.5, None]
    assert stream.columns["note"] == ["a", None]
    assert stream.samples == 1 + 2 + 1 + 2 + 1
    assert recording.utc_offset is None


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("t [s]", ["0", "1.5"], [0, 1_500_000]),
        ("t [ms]", ["0", "1.5"], [0, 1_500]),
        ("t [us]", [str(START), str(START + 1)], [START, START + 1]),
        ("t [ns]", ["0", "2000"], [0, 2]),
        ("t", ["2024-03-18T14:49:10.346Z", "2024-03-18 15:49:11+01:00"], [1710773350346000, 1710773351000000]),
        ("t [ISO]", ["2024-03-18T14:49:10"], [1710773350000000]),
        ("t [s]", ["2", "1"], [1_000_000, 2_000_000]),
    ],
)
def test_csv_times_are_understood(tmp_path: Path, header: str, cells: list[str], expected: list[int]) -> None:
    text = f"{header},a\n" + "".join(f"{cell},{cell!r}\n" for cell in cells)
    assert load_csv(csv(tmp_path, text)).streams[0].ts == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "log.csv:1: expected a header with a time and at least one channel"),
        ("t [s],a\n", "there are no rows"),
        ("t [s],a\n0,1\n1\n", "log.csv:3: 1 cells, the header has 2"),
        ("t [h],a\n0,1\n", "the unit of the time is 'h', expected s, ms, us, ns or ISO"),
        ("t,a\n0.5,1\n", "log.csv:2: '0.5' is not a time such as .*write the unit into the header"),
        ("t [s],a\nx,1\n", "log.csv:2: 'x' is not a number of s"),
        ("t [s],a,a\n0,1,2\n", "log.csv:1: column 3: 'a' stands twice"),
        ("t [s],ä\n0,1\n", "log.csv:1: column 2: 'ä' is not a channel name"),
    ],
)
def test_csv_that_cannot_be_played_is_said_with_line_and_expectation(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(RecordingError, match=problem):
        load_csv(csv(tmp_path, text))


@given(rows=st.lists(st.tuples(st.integers(0, 10**6), st.floats(), st.integers(-9, 9)), min_size=1, max_size=50))
def test_csv_brings_every_value_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, float, int]]
) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    folder = tmp_path_factory.mktemp("csv")
    stream = load_csv(csv(folder, "t [us],a,b\n" + "".join(f"{t},{a!r},{b}\n" for t, a, b in rows))).streams[0]
    assert stream.ts == [t for t, _, _ in rows]
    assert [repr(value) for value in stream.columns["a"]] == [repr(a) for _, a, _ in rows]
    assert stream.columns["b"] == [b for _, _, b in rows]


# --- playing --------------------------------------------------------------------------------------------------------


TEN_SECONDS = "t [s],a\n" + "".join(f"{i / 10},{i}\n" for i in range(101))


async def test_replay_at_normal_speed_takes_as_long_as_it_took(make_driver: Make, tmp_path: Path) -> None:
    csv(tmp_path, TEN_SECONDS)
    clock = VirtualClock()
    notes = await played(make_driver("replay", clock, file="log.csv"), clock, 5.05)
    assert 45 <= len(notes.samples["a"]) <= 52
    assert not notes.events
    assert notes.state("busy") == [True]
    notes = await played(make_driver("replay", clock, file="log.csv"), clock, 10.2)
    assert len(notes.samples["a"]) == 101
    assert [event[0] for event in notes.events] == ["replay.finished"]
    assert notes.state("busy") == [True, False]


async def test_replay_at_ten_times_the_speed_has_times_of_now_and_none_in_the_future(
    make_driver: Make, tmp_path: Path
) -> None:
    csv(tmp_path, TEN_SECONDS)
    clock = VirtualClock()
    notes = await played(make_driver("replay", clock, file="log.csv", speed=10), clock, 1.1)
    times = [ts for ts, _ in notes.samples["a"]]
    assert times == [START + i * 10_000 for i in range(101)]
    assert times[-1] <= clock.now()


async def test_replay_at_full_speed_ends_now_or_keeps_the_recorded_times(make_driver: Make, tmp_path: Path) -> None:
    csv(tmp_path, "t [us],a\n1710773350000000,1\n1710773360000000,2\n")
    for start, last in (("now", START), ("recorded", 1710773360000000)):
        clock = VirtualClock()
        notes = await played(make_driver("replay", clock, file="log.csv", speed="max", start=start), clock)
        assert notes.samples["a"] == [(last - 10_000_000, 1.0), (last, 2.0)]
        assert clock.now() == START


async def test_replay_in_a_loop_goes_on_with_growing_times(make_driver: Make, tmp_path: Path) -> None:
    csv(tmp_path, TEN_SECONDS)
    clock = VirtualClock()
    notes = await played(make_driver("replay", clock, file="log.csv", speed=10, loop=True), clock, 3.5)
    assert len(notes.events) == 3
    times = [ts for ts, _ in notes.samples["a"]]
    assert len(times) > 303
    assert times == sorted(times)


async def test_long_silence_in_a_recording_takes_its_time_and_no_more(make_driver: Make, tmp_path: Path) -> None:
    csv(tmp_path, "t [s],a\n0,1\n3600,2\n")
    clock = VirtualClock()
    notes = await played(make_driver("replay", clock, file="log.csv"), clock, 3599.5)
    assert len(notes.samples["a"]) == 1
    notes = await played(make_driver("replay", clock, file="log.csv"), clock, 3601)
    assert len(notes.samples["a"]) == 2


@pytest.mark.parametrize(
    ("given_", "problem"),
    [
        ({"file": "missing.csv"}, "missing.csv: cannot be read: No such file"),
        ({"file": "missing.ulg"}, "missing.ulg: cannot be read: there is no such file"),
        ({"file": "log.txt"}, "log.txt: .txt tells no format, expected .ulg or .csv"),
        ({"file": "log.csv", "start": "recorded"}, "its times do not count from 1970 .* use start: now"),
        ({"file": "log.csv", "start": "recorded", "loop": True}, "would send the same times again"),
        ({"file": "log.csv", "speed": "max", "loop": True}, "would never end"),
        ({"file": "log.csv", "format": "ulog"}, "not a ULog file that can be read"),
    ],
)
async def test_options_that_cannot_work_are_a_configuration_error(
    make_driver: Make, tmp_path: Path, given_: dict[str, Any], problem: str
) -> None:
    csv(tmp_path, TEN_SECONDS)
    with pytest.raises(ConfigurationError, match=problem):
        async with make_driver("replay", VirtualClock(), **given_):
            pass


def test_ulog_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: Any, **named: Any) -> Any:
        if name == "pyulog":
            raise ModuleNotFoundError("No module named 'pyulog'", name="pyulog")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(RecordingError, match=r"pip install 'botyard\[ulog\]'"):
        load_ulog(tmp_path / "x.ulg", all_topics=False)


async def test_replay_through_a_small_outbox_and_a_lossy_network_loses_nothing(modelled: Any, tmp_path: Path) -> None:
    csv(tmp_path, "t [ms],a,b\n" + "".join(f"{i},{i},{'' if i % 3 else -i}\n" for i in range(5000)))
    player = modelled(
        "replay",
        {"file": "log.csv", "speed": "max"},
        exit_when_done=True,
        outbox=OutboxSettings(limits=Limits(messages=20)),
        telemetry=BatchLimits(max_samples=50),
        link=LinkSettings(resend_after=0.2),
    )
    dice = random.Random(3)
    player.broker.loses = lambda _: dice.random() < 0.3
    assert await player.run() == 0
    found: dict[str, list[Any]] = {"a": [], "b": []}
    for batch in player.hub.bodies("r1", Telemetry):
        for group in batch.groups:
            for channel in group.channels:
                found[channel.name] += [value for value in channel.values if value is not None]
    assert found == {"a": list(range(5000)), "b": [-i for i in range(0, 5000, 3)]}
    assert player.runtime.outbox.dropped == 0
    finished = player.hub.bodies("r1", Event)[-1]
    assert finished.name == "replay.finished"
    assert finished.data["samples"] == 5000 + 1667
    assert player.hub.bodies("r1", State)[-1].busy is False


async def test_replay_of_a_file_that_is_missing_ends_with_code_one(modelled: Any) -> None:
    player = modelled("replay", {"file": "missing.csv", "speed": "max"}, exit_when_done=True)
    assert await player.run() == 1
    assert player.hub.bodies("r1", State)[-1].health == "error"


# --- PX4 ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic", "field", "unit"),
    [
        ("battery_status", "voltage_cell_v[3]", "V"),
        ("battery_status", "remaining", "1"),
        ("vehicle_local_position", "vx", "m/s"),
        ("vehicle_local_position", "x", "m"),
        ("vehicle_local_position", "heading", "rad"),
        ("vehicle_gps_position", "latitude_deg", "deg"),
        ("vehicle_gps_position", "lat", "10*-7.deg"),
        ("vehicle_air_data", "baro_pressure_pa", "Pa"),
        ("vehicle_air_data", "baro_temp_celcius", "Cel"),
        ("vehicle_angular_velocity", "xyz[1]", "rad/s"),
        ("vehicle_acceleration", "xyz[0]", "m/s2"),
        ("cpuload", "load", "1"),
        ("vehicle_status", "nav_state", None),
        ("vehicle_imu", "timestamp_sample", "us"),
    ],
)
def test_px4_field_has_its_ucum_unit(topic: str, field: str, unit: str | None) -> None:
    assert unit_of(topic, field) == unit


@pytest.mark.parametrize(("yaw", "expected"), [(0.0, 0.0), (90.0, 90.0), (-90.0, 270.0), (179.0, 179.0)])
def test_heading_is_clockwise_from_north(yaw: float, expected: float) -> None:
    half = math.radians(yaw) / 2
    assert heading(math.cos(half), 0.0, 0.0, math.sin(half)) == pytest.approx(expected)
    assert heading(math.nan, 0.0, 0.0, 0.0) is None


@pytest.mark.recordings
@pytest.mark.parametrize("topics", ["default", "all"])
async def test_flight_log_arrives_whole(modelled: Any, px4_log: Path, topics: str) -> None:
    import numpy as np
    from pyulog import ULog

    player = modelled(
        "replay",
        {"file": str(px4_log), "speed": "max", "start": "recorded", "topics": topics},
        exit_when_done=True,
    )
    assert await player.run() == 0
    found: dict[str, list[tuple[int, Any]]] = {}
    for envelope in player.hub.messages.values():
        if isinstance(envelope.body, Telemetry):
            for group in envelope.body.groups:
                for channel in group.channels:
                    pairs = zip(group.dt, channel.values, strict=True)
                    rows = found.setdefault(channel.name, [])
                    rows += [(envelope.ts + dt, value) for dt, value in pairs if value is not None]
    expected = 0
    log = ULog(str(px4_log))
    for data in log.data_list:
        name = data.name + (f".{data.multi_id}" if data.multi_id else "")
        for field, column in data.data.items():
            if field == "timestamp" or "_padding" in field or (topics == "default" and data.name not in CURATED):
                continue
            finite = np.isfinite(column)
            rows = sorted(found.pop(f"{name}.{field}", []), key=lambda row: row[0])
            assert len(rows) == int(finite.sum()), f"{name}.{field}"
            if rows:
                times = data.data["timestamp"].copy()
                times[times == 0] = log.start_timestamp  # logged before anybody had published the topic
                order = times.argsort(kind="stable")
                values = column[order][finite[order]]
                assert [ts for ts, _ in rows] == times[order][finite[order]].tolist()
                assert (float(rows[0][1]), float(rows[-1][1])) == (float(values[0]), float(values[-1]))
            expected += len(rows)
    assert expected > (30_000 if topics == "default" else 300_000)
    assert {name: len(rows) for name, rows in found.items()} == {"geo": 109, "heading": 622}
    assert player.runtime.outbox.dropped == 0


@pytest.mark.recordings
async def test_flight_logs_messages_and_state_are_the_robots(modelled: Any, px4_log: Path) -> None:
    player = modelled("replay", {"file": str(px4_log), "speed": "max", "start": "now"}, exit_when_done=True)
    assert await player.run() == 0
    events = player.hub.bodies("r1", Event)
    assert len(events) == 18 + 1
    named = {event.message: event for event in events}
    severity: Severity = "warning"
    assert named["[health_and_arming_checks] Preflight: GPS fix too low"].severity == severity
    assert named["[commander] Ready for takeoff!"].name == "log.commander"
    state = player.hub.bodies("r1", State)[-1]
    assert state.geo is not None
    assert state.geo.lat == pytest.approx(47.3977, abs=1e-3)
    assert state.geo.heading is not None
    assert state.battery is not None
    assert state.battery.level == pytest.approx(0.9007, abs=1e-4)
    assert state.busy is False
    last = max(e.ts + e.body.dt for e in player.hub.messages.values() if isinstance(e.body, Event))
    assert last <= player.clock.now()
