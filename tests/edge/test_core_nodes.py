"""The runtime's own nodes that hang: each is started again alone, and the robot's health and the hub say so."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from botyard_edge.config import Config
from botyard_edge.driver import Capabilities, Channel, Command, CommandSpec, Motion, Progress
from botyard_edge.memory import MemoryOutbox
from botyard_edge.runtime import SILENCE, Runtime
from botyard_edge.transport import Session, Transport, Will
from botyard_schemas import Event, Report, State, Telemetry

from .conftest import Script, World

Scripted = Callable[..., Config]
DRIVE = CommandSpec("drive", args={"type": "object"}, motion=Motion("goal"))
CAN = Capabilities((Channel("a"),), (DRIVE,))


async def count(driver: Any, port: Any) -> None:
    number = 0
    while True:
        await port.publish({"a": number})
        number += 1
        await driver.context.clock.sleep(1.0)


class Driving(Script):
    """Drives for a minute when it is told to."""

    stops = 0

    async def execute(self, command: Command, progress: Progress) -> None:
        await self.context.clock.sleep(60.0)

    async def stop(self) -> None:
        Driving.stops += 1


class Stuck:
    """An outbox that never comes back with the first message of a kind once `wanted` is set."""

    def __init__(self, runtime: Runtime, kind: type) -> None:
        self.wanted = False
        self.hung = 0
        assert isinstance(runtime.outbox, MemoryOutbox)
        put = runtime.outbox.put

        async def stuck(body: Any, **more: Any) -> int:
            if self.wanted and isinstance(body, kind):
                self.wanted = False
                self.hung += 1
                await asyncio.Event().wait()
            return await put(body, **more)

        runtime.state._send = stuck
        runtime.desk._report = stuck
        runtime.outbox.put = stuck  # type: ignore[method-assign]


def events(world: World) -> list[tuple[str, Any]]:
    return [
        (event.name, event.data["node"]) for event in world.hub.bodies("r1", Event) if event.name.startswith("node.")
    ]


def told(world: World, node: str) -> State:
    """The state that said that the node hangs."""
    return next(s for s in world.hub.bodies("r1", State) if node in s.nodes and s.nodes[node].status == "backoff")


def settings(scripted: Scripted) -> Config:
    return scripted(count, capabilities=CAN, driver=Driving)


async def test_node_that_does_nothing_for_an_hour_does_not_hang(world: World, scripted: Scripted) -> None:
    async def idle(driver: Any, port: Any) -> None:
        await driver.context.clock.sleep(1e9)

    async with world.running(scripted(idle)):
        await world.clock.advance(3600)
        world.broker.cut(down=True)
        await world.clock.advance(3600)
    assert events(world) == []


async def test_node_of_the_state_that_hangs_is_started_again(world: World, scripted: Scripted) -> None:
    async with world.running(settings(scripted)) as runtime:
        outbox = Stuck(runtime, State)
        await world.clock.advance(20)
        outbox.wanted = True
        await world.clock.advance(SILENCE + 20)
        seen = len(world.hub.bodies("r1", State))
        await world.clock.advance(20)
        assert len(world.hub.bodies("r1", State)) > seen, "it is sent again"
    assert outbox.hung == 1
    assert events(world) == [("node.hung", "state"), ("node.recovered", "state")]
    # It tells of itself once it works again.
    last = world.hub.bodies("r1", State)[-1]
    assert (last.nodes["state"].restarts, last.nodes["state"].reason) == (1, "hang")


async def test_node_of_commands_that_hangs_answers_for_what_it_was_doing(world: World, scripted: Scripted) -> None:
    Driving.stops = 0
    async with world.running(settings(scripted)) as runtime:
        outbox = Stuck(runtime, Report)
        expires = world.clock.now() + 600_000_000
        world.hub.command("r1", Command("c1", "drive", expires, {}))
        await world.clock.advance(1)
        outbox.wanted = True
        world.hub.command("r1", Command("c2", "dance", expires, {}))
        await world.clock.advance(SILENCE + 5)
        reports = {report.command: report for report in world.hub.bodies("r1", Report)}
        assert reports["c1"].status == "failed"
        assert reports["c1"].reason == "the node of commands was started anew while it executed this"
        assert Driving.stops == 1, "nobody was in control of what it moved"
        world.hub.command("r1", Command("c2", "dance", expires, {}))
        world.hub.command("r1", Command("c3", "drive", expires, {}))
        await world.clock.advance(70)
        reports = {report.command: report for report in world.hub.bodies("r1", Report)}
        assert (reports["c2"].status, reports["c3"].status) == ("rejected", "succeeded")
    assert events(world) == [("node.hung", "commands"), ("node.recovered", "commands")]
    assert told(world, "commands").health_reasons == ["commands: it hangs: no sign of life for 30 s"]
    assert told(world, "commands").health == "warning"


class StuckTransport:
    """A connection that takes nothing any more once `wanted` is set, until `released`, and may swallow its
    cancellation; the next one works."""

    def __init__(self, inner: Transport, *, ends: bool) -> None:
        self.address = inner.address
        self.wanted = False
        self.hung: Session | None = None
        self.released = asyncio.Event()
        self._inner = inner
        self._ends = ends

    @asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session]:
        async with self._inner.session(will) as made:
            publish = made.publish

            async def stuck(*args: Any, **more: Any) -> None:
                if self.wanted and self.hung is None:
                    self.hung = made
                while self.hung is made and not self.released.is_set():
                    try:
                        await self.released.wait()
                    except asyncio.CancelledError:
                        if self._ends:
                            raise
                await publish(*args, **more)

            made.publish = stuck  # type: ignore[method-assign]
            yield made


@pytest.mark.parametrize("ends", [True, False])
async def test_link_that_hangs_connects_anew_and_loses_nothing(ends: bool, world: World, scripted: Scripted) -> None:
    transport = StuckTransport(world.broker.transport("r1"), ends=ends)
    runtime = Runtime(settings(scripted), clock=world.clock, rng=random.Random(1), transport=transport)
    task = asyncio.create_task(runtime.run())
    try:
        await world.clock.advance(10)
        assert runtime.bus.latest("link/connected") is True
        transport.wanted = True
        await world.clock.advance(SILENCE + 20)
        assert transport.hung is not None
        assert runtime.bus.latest("link/connected") is True, "over another connection"
        await world.clock.advance(10)
        groups = [group for batch in world.hub.bodies("r1", Telemetry) for group in batch.groups]
        values = [value for group in groups for one in group.channels for value in one.values]
        assert sorted(set(values)) == list(range(int(max(values)) + 1))
        assert max(values) > SILENCE + 30
        names = [name for name, node in events(world) if node == "link"]
        assert names == [*([] if ends else ["node.abandoned"]), "node.hung", "node.recovered"]
        assert told(world, "link").health == "warning"
    finally:
        transport.released.set()
        runtime.stop()
        await world.finish(task)
