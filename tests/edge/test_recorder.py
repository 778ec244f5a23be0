"""Robots whose bus is recorded, and recordings that take the place of a robot's drivers; all on virtual time."""

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from botyard_edge.blocking import Inline
from botyard_edge.config import Config, OutboxSettings
from botyard_edge.driver import Battery, Capabilities, Channel, Geo, Pose
from botyard_edge.playing import examine, play_alone, with_recording
from botyard_edge.recorder import RecordSettings
from botyard_edge.recording import Reading
from botyard_edge.runtime import Runtime
from botyard_schemas import Event, State, Telemetry, decode

from .conftest import World

Scripted = Callable[..., Config]
CHANNELS = (
    Channel("a", unit="V"),
    Channel("n", "integer"),
    Channel("t", "text"),
    Channel("o", "object"),
    Channel("pose", "pose"),
    Channel("geo", "geo"),
)
START = 1_763_712_000_000_000


async def _busy(driver: Any, port: Any) -> None:
    """Says something in every way that there is."""
    clock = driver.context.clock
    port.update_state(mode="manual", busy=True, doing="measuring", pose=Pose("plan", 0.0, 0.0, 0.0))
    changing: dict[str, Any] = {"list": []}
    for index in range(30):
        changing["list"].append(index)
        await port.publish({"a": index / 3, "n": index, "o": changing})
        await port.publish(
            {"pose": Pose("plan", index / 10, 1.0, 0.5), "geo": Geo(47.0, 8.0 + index / 1e4, alt=math.nan)}
        )
        if index % 10 == 3:
            await port.event("measured", "warning", "that was much", data={"index": index}, cause="c-1")
        if index == 15:
            then = clock.now()
            await port.publish_columns([then - 2000, then - 1000], {"a": [0.5, None], "t": ["x", "y"]})
            port.update_state(battery=Battery(0.5), health="warning", health_reasons=["it is hot"])
        await clock.sleep(0.13)
    port.update_state(busy=False, doing=None)


async def _recorded(world: World, config: Config, path: Path, seconds: float = 10.0, **more: Any) -> None:
    record = RecordSettings(path, **more)
    config = replace(config, record=record)
    transport = world.broker.transport("r1")
    runtime = Runtime(config, clock=world.clock, rng=random.Random(1), transport=transport, elsewhere=Inline())
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(seconds)
    runtime.stop()
    await world.finish(task)


async def _played(path: Path, **more: Any) -> list[bytes]:
    said: list[bytes] = []
    assert await play_alone(examine(path), said.append, **more) == 0
    return said


def _samples(bodies: list[Any]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for ts, body in bodies:
        for group in body.groups:
            for channel in group.channels:
                for dt, value in zip(group.dt, channel.values, strict=True):
                    if value is not None:
                        found.setdefault(channel.name, []).append((ts + dt, value))
    return found


def _of(envelopes: list[Any], kind: type) -> list[Any]:
    made = sorted((e for e in envelopes if isinstance(e.body, kind)), key=lambda e: e.seq)
    return [(e.ts, e.body) for e in made]


async def test_played_recording_says_what_the_robot_said_and_twice_the_same(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "a.bus"
    config = scripted(_busy, capabilities=Capabilities(CHANNELS))
    await _recorded(world, config, path)
    told = [world.hub.messages[key] for key in sorted(world.hub.messages)]
    first, second = await _played(path), await _played(path)
    assert first == second
    again = [decode(message) for message in first]
    assert _samples(_of(again, Telemetry)) == _samples(_of(told, Telemetry))
    assert len(_samples(_of(again, Telemetry))["a"]) == 31
    assert [(ts + e.dt, _what(e)) for ts, e in _of(again, Event)] == [
        (ts + e.dt, _what(e)) for ts, e in _of(told, Event)
    ]
    assert _changes(_of(again, State)) == _changes(_of(told, State))


def _what(event: Event) -> Any:
    return (event.name, event.severity, event.message, event.data, event.cause)


def _changes(states: list[Any]) -> list[Any]:
    """What the driver said of the state, each change once; when a position is sent depends on the rate alone."""
    seen: list[Any] = []
    for _, state in states:
        now = (state.mode, state.health, state.health_reasons, state.busy, state.doing, state.battery)
        if not seen or seen[-1] != now:
            seen.append(now)
    return seen


async def test_recording_at_twice_the_speed_takes_half_the_time(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "a.bus"
    await _recorded(world, scripted(_busy, capabilities=Capabilities(CHANNELS)), path)
    took = []
    for speed in (1.0, 2.0):
        again = [decode(message) for message in await _played(path, speed=speed)]
        times = [ts for ts, _ in _samples(_of(again, Telemetry))["n"]]
        took.append(times[-1] - times[0])
    assert took == [29 * 130_000, 29 * 65_000]


async def test_recording_of_several_lives_is_played_one_after_the_other(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "a.bus"
    config = scripted(_busy, capabilities=Capabilities(CHANNELS))
    await _recorded(world, config, path)
    with path.open("ab") as file:
        file.write(b"\x50\x00\x00\x00torn")
    await _recorded(world, config, path)
    assert examine(path).torn is None, "the next life cuts it off"
    again = [decode(message) for message in await _played(path)]
    assert [value for _, value in _samples(_of(again, Telemetry))["n"]] == [*range(30), *range(30)]


async def test_recording_with_a_torn_end_is_played_up_to_it(world: World, scripted: Scripted, tmp_path: Path) -> None:
    path = tmp_path / "a.bus"
    await _recorded(world, scripted(_busy, capabilities=Capabilities(CHANNELS)), path)
    frames = list(Reading(path))
    cut = next(frame.at for frame in frames if frame.type == "columns") + 5
    path.write_bytes(path.read_bytes()[:cut])
    recording = examine(path)
    assert recording.torn is not None
    assert "its last 5 bytes" in recording.torn
    again = [decode(message) for message in await _played(path)]
    assert [value for _, value in _samples(_of(again, Telemetry))["n"]] == list(range(16))


async def test_recording_keeps_to_its_size_and_its_later_part_can_be_played_alone(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    async def run(driver: Any, port: Any) -> None:
        port.update_state(mode="manual", mode_reason="somebody wants it so")
        for index in range(4000):
            await port.publish({"a": index, "t": "x" * 50})
            await driver.context.clock.sleep(0.01)

    path = tmp_path / "a.bus"
    await _recorded(world, scripted(run), path, 45.0, max_size=100_000)
    before = tmp_path / "a.bus.1"
    assert not (tmp_path / "a.bus.2").exists()
    assert path.stat().st_size <= 50_000
    assert 40_000 < before.stat().st_size <= 50_000
    values: list[float] = []
    for part in (before, path):
        again = [decode(message) for message in await _played(part)]
        values += [value for _, value in _samples(_of(again, Telemetry))["a"]]
        assert _of(again, State)[-1][1].mode_reason == "somebody wants it so"
    assert values == list(range(4000 - len(values), 4000)), "nothing is missing where one file follows the other"


async def test_recording_holds_the_topics_that_were_asked_for(world: World, scripted: Scripted, tmp_path: Path) -> None:
    path = tmp_path / "a.bus"
    config = scripted(_busy, capabilities=Capabilities(CHANNELS))
    await _recorded(world, config, path, topics=("**", "!drivers/**"))
    topics = {frame.topic for frame in Reading(path)}
    assert {"nodes/driver.base", "nodes/driver.base/heartbeat", "samples/base/a", "state/base"} <= topics
    assert not any(topic.startswith("drivers/") for topic in topics)
    steady = [frame.steady for frame in Reading(path)]
    assert steady == sorted(steady)


async def test_value_that_cannot_be_recorded_is_counted_and_stops_nobody(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "a.bus"
    config = replace(scripted(_idle), record=RecordSettings(path))
    transport = world.broker.transport("r1")
    runtime = Runtime(config, clock=world.clock, rng=random.Random(1), transport=transport, elsewhere=Inline())
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(1)
    runtime.bus.publish("acme/x", object())
    runtime.bus.publish("acme/x", {"good": 1})
    await world.clock.advance(1)
    runtime.stop()
    await world.finish(task)
    found = [(f.topic, f.type, f.value) for f in Reading(path)]
    at = found.index(("acme/x", "plain", {"good": 1}))
    assert found[at - 1] == ("", "lost", 1)
    assert examine(path).lost == 1


async def test_robot_whose_recording_is_another_file_goes_on_and_says_so(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("do not overwrite\n")
    await _recorded(world, scripted(_busy, capabilities=Capabilities(CHANNELS)), path)
    state = world.hub.bodies("r1", State)[-1]
    assert state.nodes["record"].status == "failed"
    assert "this is no recording of a robot's bus" in state.health_reasons[-1]
    assert path.read_text() == "do not overwrite\n"
    assert len(_samples([(0, body) for body in world.hub.bodies("r1", Telemetry)])["n"]) == 30


async def test_robot_whose_disk_fails_goes_on_and_records_again_when_it_works(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    folder = tmp_path / "disk"
    folder.write_text("no folder yet")

    async def run(driver: Any, port: Any) -> None:
        for index in range(100):
            await port.publish({"a": index})
            await driver.context.clock.sleep(0.1)
            if index == 50:
                folder.unlink()

    await _recorded(world, scripted(run), folder / "a.bus", 60.0)
    statuses = [s.nodes["record"].status for s in world.hub.bodies("r1", State) if "record" in s.nodes]
    assert "backoff" in statuses
    assert statuses[-2:] == ["running", "stopped"] or statuses[-1] == "running"
    assert sum(frame.type == "sample" for frame in Reading(folder / "a.bus")) == 100, "they waited in memory"


async def test_recording_takes_the_place_of_the_drivers_of_a_robot_with_a_hub(
    world: World, scripted: Scripted, tmp_path: Path
) -> None:
    path = tmp_path / "a.bus"
    config = scripted(_busy, capabilities=Capabilities(CHANNELS))
    await _recorded(world, config, path)
    other = World()
    config = replace(config, outbox=OutboxSettings("state/r1.db"), folder=tmp_path)
    played = replace(with_recording(config, examine(path), threads=False), exit_when_done=True)
    task = asyncio.create_task(other.runtime(played).run())
    assert await other.finish(task) == 0
    assert not (tmp_path / "state").exists(), "the robot's own files are left alone"
    bodies = [(0, body) for body in other.hub.bodies("r1", Telemetry)]
    assert [value for _, value in _samples(bodies)["n"]] == list(range(30))


async def _idle(driver: Any, port: Any) -> None:
    await driver.context.clock.sleep(1e9)
