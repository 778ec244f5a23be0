"""Drivers that fail, fall silent or do not end, seen from the hub."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Self

import pytest

from botyard_edge.bus import Bus
from botyard_edge.config import Config, DriverSettings
from botyard_edge.driver import Capabilities, Channel, Command, CommandSpec, DriverError, DriverSpec, Progress
from botyard_edge.node import Backoff, RestartPolicy
from botyard_edge.pulse import HangError, Pulse
from botyard_edge.testing import VirtualClock, settle
from botyard_schemas import Event, Report, State, Telemetry

from .conftest import Script, World

Scripted = Callable[..., Config]
Run = Callable[[Any, Any], Awaitable[None]]
HANG = 5.0
ONLY_A = Capabilities((Channel("a"),))


async def _count(driver: Any, port: Any, channel: str = "b") -> None:
    """Publish 0, 1, 2 … each second."""
    for count in itertools.count():
        await port.publish({channel: count})
        await driver.context.clock.sleep(1.0)


def _beside(config: Config, run: Run) -> Config:
    """Another driver, `other`, in the same robot."""
    spec = DriverSpec("other", "", lambda context: Script(context, run, Capabilities((Channel("b"),))), {})
    return replace(config, drivers=(*config.drivers, DriverSettings("other", spec, {}, hang_after=HANG)))


def _watched(config: Config, **settings: Any) -> Config:
    first = replace(config.drivers[0], hang_after=HANG, **settings)
    return replace(config, drivers=(first, *config.drivers[1:]))


def _values(world: World, channel: str) -> list[Any]:
    groups = [group for batch in world.hub.bodies("r1", Telemetry) for group in batch.groups]
    return [value for group in groups for one in group.channels if one.name == channel for value in one.values]


def _events(world: World) -> list[tuple[str, Any]]:
    return [(event.name, event.data.get("node")) for event in world.hub.bodies("r1", Event)]


async def test_driver_that_falls_silent_is_restarted_alone_and_the_hub_is_told(
    world: World, scripted: Scripted
) -> None:
    lives: list[float] = []

    async def run(driver: Any, port: Any) -> None:
        lives.append(world.clock.monotonic())
        await port.publish({"a": len(lives)})
        await driver.context.clock.sleep(1e9 if len(lives) == 1 else 1.0)
        if len(lives) > 1:
            await _count(driver, port, "a")

    async with world.running(_beside(_watched(scripted(run, capabilities=ONLY_A)), _count)):
        await world.clock.advance(20)
    assert len(lives) == 2
    assert HANG < lives[1] - lives[0] <= HANG + 1.0, "the silence, and the shortest pause"
    assert _events(world) == [("node.hung", "driver.base"), ("node.recovered", "driver.base")]
    bad = next(state for state in world.hub.bodies("r1", State) if state.health != "ok")
    assert bad.health_reasons == ["driver.base: it hangs: no sign of life for 5 s"]
    assert (bad.nodes["driver.base"].status, bad.nodes["driver.base"].reason) == ("backoff", "hang")
    assert _values(world, "a")[:2] == [1, 2], "what was measured before the hang counts"
    assert _values(world, "b") == list(range(21)), "the other driver noticed nothing"
    assert world.hub.bodies("r1", State)[-1].nodes["driver.other"].restarts == 0


async def test_driver_that_shows_signs_of_life_without_publishing_goes_on(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        while True:
            port.alive()
            await driver.context.clock.sleep(HANG - 0.5)

    async with world.running(_watched(scripted(run))) as runtime:
        await world.clock.advance(60)
        latest = runtime.bus.latest("nodes/driver.base/heartbeat")
        assert 60.0 - HANG < latest <= 60.1
    assert world.hub.bodies("r1", State)[-1].nodes["driver.base"].restarts == 0


async def test_driver_that_never_declared_how_silent_it_may_be_is_left_alone(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        await driver.context.clock.sleep(1e9)

    async with world.running(scripted(run)):
        await world.clock.advance(3600)
    assert _events(world) == []


async def test_driver_that_has_to_wait_for_room_in_the_outbox_does_not_hang(world: World, scripted: Scripted) -> None:
    ended = asyncio.Event()

    async def run(driver: Any, port: Any) -> None:
        for _ in range(20):
            await port.publish({"t": "x" * 60_000})
            await port.flush()
        ended.set()
        await _count(driver, port, "a")

    capabilities = Capabilities((Channel("a"), Channel("t", "text")), lossless=True)
    config = _watched(scripted(run, capabilities=capabilities))
    limits = replace(config.outbox.limits, messages=10)
    config = replace(config, outbox=replace(config.outbox, limits=limits))
    world.hub.acknowledges = False
    async with world.running(config):
        await world.clock.advance(60)
        assert not ended.is_set()
        world.hub.acknowledges = True
        await world.clock.advance(60)
        assert ended.is_set()
    assert "node.hung" not in [name for name, _ in _events(world)]


async def test_driver_that_hangs_while_it_opens_is_restarted(world: World, scripted: Scripted) -> None:
    opened: list[float] = []

    class Slow(Script):
        async def __aenter__(self) -> Self:
            opened.append(world.clock.monotonic())
            await self.context.clock.sleep(1e9 if len(opened) == 1 else 0.1)
            return self

    async with world.running(_watched(scripted(_count, driver=Slow))):
        await world.clock.advance(10)
        assert world.hub.bodies("r1", State)[-1].nodes["driver.base"].status == "running"
    assert len(opened) == 2


class Waving(Script):
    """Executes the command `wave`, and notes that it was halted."""

    halted: list[str] = []  # noqa: RUF012 - of all of them

    def halt(self) -> None:
        self.halted.append(self.context.name)

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        return None


async def test_driver_that_does_not_end_is_abandoned_and_another_takes_its_place(
    world: World, scripted: Scripted
) -> None:
    let_go = asyncio.Event()
    Waving.halted.clear()
    said: list[str] = []
    lives: list[Any] = []

    async def run(driver: Any, port: Any) -> None:
        lives.append(driver)
        if len(lives) > 1:
            await _count(driver, port, "a")
        await port.publish({"a": -1})
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                said.append("told to end")
        try:
            await port.publish({"a": -2})
        except DriverError as error:
            said.append(str(error))

    capabilities = Capabilities((Channel("a"),), (CommandSpec("wave"),))
    async with world.running(_watched(scripted(run, capabilities=capabilities, driver=Waving))):
        await world.clock.advance(30)
        assert [name for name, _ in _events(world)] == ["node.abandoned", "node.hung", "node.recovered"]
        let_go.set()
        world.hub.command("r1", Command("c1", "wave", world.clock.now() + 10**9))
        await world.clock.advance(5)
    assert [(r.command, r.status) for r in world.hub.bodies("r1", Report)][-1] == ("c1", "succeeded")
    assert Waving.halted == ["base"], "while nobody is in control, nothing may move"
    assert said == ["told to end", "driver base did not end when it was told to; nothing of it counts any more"]
    values = _values(world, "a")
    assert values[0] == -1
    assert -2 not in values
    assert values[1:] == list(range(len(values) - 1)), "the second one was not disturbed by the end of the first"


async def test_robot_ends_although_a_driver_does_not(world: World, scripted: Scripted) -> None:
    let_go = asyncio.Event()

    async def run(driver: Any, port: Any) -> None:
        while not let_go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await let_go.wait()

    async with world.running(_beside(scripted(run, capabilities=ONLY_A), _count)) as runtime:
        await world.clock.advance(3)
    assert runtime.abandoned == ["driver.base"]
    assert [presence.reason for presence in world.hub.presence][-1] == "stopped"
    let_go.set()
    await settle()
    assert runtime.abandoned == []


async def test_driver_that_does_not_stop_keeps_no_other_in_motion(world: World, scripted: Scripted) -> None:
    stopped: list[str] = []

    class Moving(Script):
        async def stop(self) -> None:
            if self.context.name == "base":
                await self.context.clock.sleep(1e9)
            stopped.append(self.context.name)

    async def run(driver: Any, port: Any) -> None:
        await driver.context.clock.sleep(1e9)

    config = scripted(run, capabilities=Capabilities(), driver=Moving)
    config = replace(config, drivers=tuple(replace(config.drivers[0], name=name) for name in ("base", "arm")))
    async with world.running(config):
        await world.clock.advance(1)
    assert stopped == ["arm"]


class Stalling:
    """A clock of a process that stands still for `stall` seconds while it sleeps."""

    def __init__(self) -> None:
        self.time = 0.0
        self.stall = 0.0

    def now(self) -> int:
        return round(self.time * 1e6)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += seconds + self.stall
        self.stall = 0.0
        await asyncio.sleep(0)


async def test_process_that_stood_still_blames_nobody() -> None:
    clock, never = Stalling(), asyncio.Event()
    clock.stall = 100.0
    task = asyncio.create_task(never.wait())
    with pytest.raises(HangError):
        await Pulse("n", Bus(), clock, hang_after=HANG).watch(task)
    assert clock.monotonic() == 100.0 + 2 * HANG, "and not as soon as it goes on"
    task.cancel()


async def test_signs_of_life_on_the_bus_count_whoever_publishes_them() -> None:
    clock, bus, never = VirtualClock(), Bus(), asyncio.Event()
    task = asyncio.create_task(never.wait())
    watching = asyncio.create_task(Pulse("n", bus, clock, hang_after=HANG).watch(task))
    for _ in range(5):
        await clock.advance(HANG - 1)
        bus.publish("nodes/n/heartbeat", clock.monotonic())
    await clock.advance(HANG - 1)
    assert not watching.done()
    await clock.advance(1)
    with pytest.raises(HangError):
        await watching
    task.cancel()


async def test_driver_that_keeps_failing_is_given_up_and_the_robot_is_ill(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        raise OSError("the cable is out")

    policy = RestartPolicy(Backoff(0.1, 0.5), failures=3, within=60.0)
    async with world.running(_beside(_watched(scripted(run, capabilities=ONLY_A), restart=policy), _count)) as runtime:
        await world.clock.advance(60)
        assert runtime.failed
    state = world.hub.bodies("r1", State)[-1]
    assert state.health == "error"
    assert state.nodes["driver.base"].reason == "budget"
    assert _events(world) == [("node.restarting", "driver.base"), ("node.recovered", "driver.base")] * 3 + [
        ("node.failed", "driver.base")
    ]
    assert _values(world, "b") == list(range(61)), "the other driver noticed nothing"
