import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from botyard_edge.config import Config, OutboxSettings
from botyard_edge.driver import Battery, Capabilities, Channel, ConfigurationError, Pose, ReadingError
from botyard_edge.outbox import Limits
from botyard_edge.runtime import Runtime
from botyard_edge.state import StateSettings
from botyard_schemas import Event, State, Telemetry, decode

from .conftest import World

Scripted = Callable[..., Config]


async def _idle(driver: Any, port: Any) -> None:
    await driver.context.clock.sleep(1e9)


async def test_runtime_brings_samples_state_and_events_to_the_hub(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        for index in range(20):
            await port.publish({"a": index, "b": -index})
            await driver.context.clock.sleep(0.1)
        await port.event("half.time", "info", "that was half of it")
        port.update_state(busy=True, doing="resting")
        await driver.context.clock.sleep(1e9)

    async with world.running(scripted(run)):
        await world.clock.advance(10)
    batches = world.hub.bodies("r1", Telemetry)
    columns = {c.name: c.values for b in batches for g in b.groups for c in g.channels if c.name == "a"}
    assert [v for b in batches for g in b.groups for c in g.channels if c.name == "a" for v in c.values] == list(
        range(20)
    )
    assert columns
    assert [e.name for e in world.hub.bodies("r1", Event)] == ["half.time"]
    state = world.hub.bodies("r1", State)[-1]
    assert (state.busy, state.doing, state.health) == (True, "resting", "ok")
    assert state.nodes["driver.base"].status == "running"
    assert state.about is not None
    assert state.about.software is not None
    assert state.about.software.startswith("botyard-edge ")
    assert [p.reason for p in world.hub.presence][-1] == "stopped"


async def test_small_changes_are_limited_and_large_ones_are_sent_at_once(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        for index in range(1000):
            port.update_state(pose=Pose("plan", index / 100, 0.0, 0.0), battery=Battery(0.5))
            await driver.context.clock.sleep(0.01)
        port.update_state(doing="something else")
        await driver.context.clock.sleep(1e9)

    config = scripted(run, state=StateSettings(period=60.0, max_rate=2.0))
    async with world.running(config):
        await world.clock.advance(9.85)
        before = world.hub.bodies("r1", State)
        assert 18 <= len(before) <= 24
        await world.clock.advance(0.08)
        assert world.hub.bodies("r1", State)[-1].doing == "something else"
        count = len(world.hub.bodies("r1", State))
        await world.clock.advance(59)
        # The last pose is never left unsaid, and an unchanged state is said once a period.
        assert count <= len(world.hub.bodies("r1", State)) <= count + 2
        assert world.hub.bodies("r1", State)[-1].pose == Pose("plan", 9.99, 0.0, 0.0)


async def test_failing_driver_is_restarted_and_seen_in_state_and_events(world: World, scripted: Scripted) -> None:
    lives: list[float] = []

    async def run(driver: Any, port: Any) -> None:
        lives.append(world.clock.monotonic())
        await port.publish({"a": len(lives)})
        if len(lives) < 3:
            raise OSError("the cable is out")
        await driver.context.clock.sleep(1e9)

    async with world.running(scripted(run)):
        await world.clock.advance(30)
    assert len(lives) == 3
    statuses = [s.nodes["driver.base"].status for s in world.hub.bodies("r1", State) if "driver.base" in s.nodes]
    assert "backoff" in statuses
    assert statuses[-1] == "running"
    bad = next(s for s in world.hub.bodies("r1", State) if s.health != "ok")
    assert bad.health_reasons == ["driver.base: OSError: the cable is out"]
    assert [e.name for e in world.hub.bodies("r1", Event)] == [
        "node.restarting",
        "node.recovered",
        "node.restarting",
        "node.recovered",
    ]
    values = [c.values for b in world.hub.bodies("r1", Telemetry) for g in b.groups for c in g.channels]
    assert values == [[1], [2], [3]], "what was measured before a failure is sent"


async def test_driver_that_publishes_what_it_did_not_declare_is_told_and_restarted(
    world: World, scripted: Scripted
) -> None:
    async def run(driver: Any, port: Any) -> None:
        await port.publish({"z": 1})

    async with world.running(scripted(run)):
        await world.clock.advance(1)
        node = world.hub.bodies("r1", State)[-1].nodes["driver.base"]
    assert node.status == "backoff"
    assert "channel 'z' was published but not declared" in (node.error or "")


async def test_second_driver_that_brings_a_channel_of_another_is_failed_and_the_first_goes_on(
    world: World, scripted: Scripted
) -> None:
    config = scripted(_idle)
    config = replace(config, drivers=(config.drivers[0], replace(config.drivers[0], name="copy")))
    async with world.running(config):
        await world.clock.advance(1)
        nodes = world.hub.bodies("r1", State)[-1].nodes
    assert nodes["driver.base"].status == "running"
    assert nodes["driver.copy"].status == "failed"
    assert "is published by the driver base already; give one another name" in (nodes["driver.copy"].error or "")


async def test_driver_that_cannot_work_leaves_the_rest_running(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        raise ConfigurationError("there is no such file")

    async with world.running(scripted(run)):
        await world.clock.advance(60)
    state = world.hub.bodies("r1", State)[-1]
    assert state.health == "error"
    assert state.nodes["driver.base"].status == "failed"
    assert [p.reason for p in world.hub.presence].count("heartbeat") >= 11


async def test_exit_when_done_waits_for_the_last_acknowledgement_and_returns_zero(
    world: World, scripted: Scripted
) -> None:
    async def run(driver: Any, port: Any) -> None:
        await port.publish({"a": 1})

    world.hub.acknowledges = False
    task = asyncio.create_task(world.runtime(scripted(run, exit_when_done=True)).run())
    await world.clock.advance(60)
    assert not task.done()
    world.hub.acknowledges = True
    assert await world.finish(task, 120) == 0


async def test_exit_when_done_returns_one_when_a_driver_could_not_work(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        raise ConfigurationError("there is no such file")

    task = asyncio.create_task(world.runtime(scripted(run, exit_when_done=True)).run())
    assert await world.finish(task) == 1
    assert [e.name for e in world.hub.bodies("r1", Event)] == ["node.failed"]


async def test_stop_with_an_unreachable_hub_ends_within_the_flush_timeout(world: World, scripted: Scripted) -> None:
    world.broker.down = True
    runtime = world.runtime(scripted(_idle, flush_timeout=2.0))
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(5)
    runtime.stop()
    began = world.clock.monotonic()
    assert await world.finish(task) == 0
    assert world.clock.monotonic() - began <= 2.2


async def test_stop_brings_the_robot_to_rest_and_flushes_what_is_left(world: World, scripted: Scripted) -> None:
    from .conftest import Script

    stopped: list[str] = []

    class Stopping(Script):
        async def stop(self) -> None:
            stopped.append(self.context.name)

    async def run(driver: Any, port: Any) -> None:
        await port.publish({"a": 42})
        await driver.context.clock.sleep(1e9)

    runtime = world.runtime(scripted(run, driver=Stopping))
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(0.01)
    runtime.stop()
    await world.finish(task)
    assert stopped == ["base"]
    assert world.hub.bodies("r1", Telemetry)[0].groups[0].channels[0].values == [42]
    assert runtime.outbox.backlog == 0


async def test_lossless_driver_loses_nothing_while_the_hub_is_away(world: World, scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        await port.publish_columns(list(range(100_000)), {"a": list(range(100_000))})

    capabilities = Capabilities((Channel("a"),), lossless=True)
    world.broker.down = True
    config = scripted(
        run, capabilities=capabilities, exit_when_done=True, outbox=OutboxSettings(limits=Limits(messages=30))
    )
    runtime = world.runtime(config)
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(600)
    world.broker.down = False
    assert await world.finish(task, 600) == 0
    values = [v for b in world.hub.bodies("r1", Telemetry) for g in b.groups for c in g.channels for v in c.values]
    assert values == list(range(100_000))


async def _held(runtime: Runtime) -> list[Any]:
    """The samples that the outbox still holds."""
    bodies = [decode(entry.payload).body for entry in await runtime.outbox.read(0, 10_000)]
    return [v for b in bodies if isinstance(b, Telemetry) for g in b.groups for c in g.channels for v in c.values]


async def test_lossless_driver_stopped_while_the_outbox_is_full_loses_nothing(world: World, scripted: Scripted) -> None:
    made: list[int] = []

    async def run(driver: Any, port: Any) -> None:
        while True:
            made.append(len(made))
            await port.publish({"a": made[-1]})

    capabilities = Capabilities((Channel("a"),), lossless=True)
    world.broker.down = True
    limits = OutboxSettings(limits=Limits(messages=30))
    runtime = world.runtime(scripted(run, capabilities=capabilities, outbox=limits))
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(60)
    runtime.stop()
    await world.finish(task)
    assert len(made) > 1000
    assert await _held(runtime) == made


async def test_lossless_driver_that_ends_while_the_outbox_is_full_loses_nothing(
    world: World, scripted: Scripted
) -> None:
    async def run(driver: Any, port: Any) -> None:
        for index in range(40):
            await port.publish({"a": index})
            # The last batch waits for room while the last sample is made.
            await driver.context.clock.sleep(1.0)
            if index == 38:
                await port.publish({"a": 39})
                return

    capabilities = Capabilities((Channel("a"),), lossless=True)
    world.broker.down = True
    limits = OutboxSettings(limits=Limits(messages=30))
    runtime = world.runtime(scripted(run, capabilities=capabilities, exit_when_done=True, outbox=limits))
    task = asyncio.create_task(runtime.run())
    await world.clock.advance(100)
    world.broker.down = False
    assert await world.finish(task, 600) == 0
    values = [v for b in world.hub.bodies("r1", Telemetry) for g in b.groups for c in g.channels for v in c.values]
    assert values == list(range(40))


async def test_runtimes_with_the_same_seed_say_the_same(scripted: Scripted) -> None:
    async def run(driver: Any, port: Any) -> None:
        while True:
            await port.publish({"a": driver.context.rng.random()})
            await driver.context.clock.sleep(0.3)

    async def once() -> list[tuple[str, bytes]]:
        world = World()
        async with world.running(scripted(run)):
            await world.clock.advance(20)
        return [(m.topic, m.payload) for m in world.broker.log]

    assert await once() == await once()


@pytest.mark.parametrize(
    ("event", "wrong"),
    [
        ({"name": "Motor Overheat"}, "name: "),
        ({"name": "x", "severity": "terrible"}, "severity: "),
        ({"name": "x", "data": {"at": object()}}, "object"),
        ({"name": "x", "data": {"log": "y" * 300_000}}, "bytes"),
        ({"name": "x", "cause": "c" * 200}, "cause: "),
    ],
)
async def test_event_that_the_hub_would_refuse_is_refused_by_the_port(
    event: dict[str, Any], wrong: str, world: World, scripted: Scripted
) -> None:
    refused: list[str] = []

    async def run(driver: Any, port: Any) -> None:
        with pytest.raises(ReadingError, match="an event of driver base cannot be sent: ") as error:
            await port.event(**event)
        refused.append(str(error.value))
        await port.event("fine", "info", "m" * 10_000)
        await driver.context.clock.sleep(1e9)

    async with world.running(scripted(run)):
        await world.clock.advance(1)
    assert [wrong in sentence for sentence in refused] == [True]
    assert [e.name for e in world.hub.bodies("r1", Event)] == ["fine"]
