"""Robots whose clocks are wrong, with the real edge and the real hub, on virtual time: what is stored is true."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from botyard.testing import RunningHub, VirtualClock, running_hub
from botyard_edge.config import Config, DriverSettings, OutboxSettings
from botyard_edge.driver import Capabilities, Channel, Driver, DriverContext, DriverSpec, Port
from botyard_edge.runtime import Runtime
from botyard_edge.testing import MemoryBroker, Published
from botyard_schemas import Envelope, encode, topics
from tests.hub.support import get, noted, quarantine

SECOND = 1_000_000
DAY = 86_400 * SECOND
DELAY = 0.02  # seconds that each message of the hub travels


@dataclass
class RobotClock:
    """The robot's own clock: `ahead` of the true time, its steady clock beginning at the last boot."""

    true: VirtualClock
    ahead: int
    booted: float = 0.0

    def now(self) -> int:
        return max(0, self.true.now() + self.ahead)

    def monotonic(self) -> float:
        return self.true.monotonic() - self.booted

    async def sleep(self, seconds: float) -> None:
        await self.true.sleep(seconds)


@dataclass
class Scene:
    """A true clock, a broker, a robot that counts, and when it was at which number."""

    folder: Path
    clock: VirtualClock = field(default_factory=VirtualClock)
    broker: MemoryBroker = field(default_factory=MemoryBroker)
    true: dict[int, int] = field(default_factory=dict)
    count: int = 0

    def __post_init__(self) -> None:
        self.robot = RobotClock(self.clock, 0)

    def config(self) -> Config:
        scene = self

        class Counter(Driver):
            @property
            def capabilities(self) -> Capabilities:
                return Capabilities((Channel("n", "integer"),))

            async def run(self, port: Port) -> None:
                while True:
                    scene.count += 1
                    scene.true[scene.count] = scene.clock.now()
                    await port.publish({"n": scene.count})
                    if scene.count % 10 == 0:
                        await port.event("tick", data={"n": scene.count})
                    await self.context.clock.sleep(0.1)

        def make(context: DriverContext) -> Driver:
            return Counter(context)

        drivers = (DriverSettings("base", DriverSpec("counter", "", make, {}), {}),)
        return Config("r", drivers, folder=self.folder, outbox=OutboxSettings("r.db"))

    @asynccontextmanager
    async def edge(self, boot: str) -> AsyncIterator[Runtime]:
        """The edge while it runs."""
        config, rng = self.config(), random.Random(1)
        runtime = Runtime(config, clock=self.robot, rng=rng, transport=self.broker.transport("r"), boot=boot)
        task = asyncio.create_task(runtime.run())
        await self.run(0.5)
        try:
            yield runtime
        finally:
            runtime.stop()
            while not task.done():
                await self.run(0.1)
            await task

    async def run(self, seconds: float) -> None:
        """Let time pass, with a little real time for files and processes."""
        end = self.clock.monotonic() + seconds
        while self.clock.monotonic() < end - 1e-9:
            await self.clock.advance(min(0.1, end - self.clock.monotonic()))
            await asyncio.sleep(0.001)

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[RunningHub]:
        """The hub, and the broker's messages on their way to it and back."""
        async with running_hub(self.folder / "hub", clock=self.clock) as running:
            # Else its registration, which takes real time of a real disk, would be taken for a slow network.
            await running.api.post("/api/v1/robots", json={"id": "r"})
            arriving: asyncio.Queue[Published] = asyncio.Queue()

            async def carry() -> None:
                while True:
                    message = await arriving.get()
                    await running.transport.deliver(message.topic, message.payload)

            async def send(envelope: Envelope) -> bool:
                async def later() -> None:
                    await self.clock.sleep(DELAY)
                    topic = topics.down(envelope.robot, envelope.type)
                    self.broker.publish(topic, encode(envelope), qos=1)

                tasks.add(asyncio.create_task(later()))
                return True

            def listen(message: Published) -> None:
                if "/down/" not in message.topic:
                    arriving.put_nowait(message)

            tasks: set[asyncio.Task[None]] = {asyncio.create_task(carry())}
            running.transport.send = send  # type: ignore[method-assign]
            self.broker.listeners.append(listen)
            try:
                yield running
            finally:
                self.broker.listeners.remove(listen)
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def drained(self, runtime: Runtime) -> None:
        for _ in range(600):
            if runtime.outbox.backlog < 20:
                return
            await self.run(0.5)
        raise AssertionError(f"{runtime.outbox.backlog} messages are left")

    async def errors(self, running: RunningHub) -> dict[int, int]:
        """By how much the stored times of samples are ahead of the true ones, by number; of events by minus that."""
        found: dict[int, int] = {}
        cursor: dict[str, str] = {}
        while True:
            page = await get(running, "readings", robot="r", channel="n", limit=10_000, **cursor)
            for item in page["items"]:
                assert item["value"] not in found, "stored twice"
                found[item["value"]] = item["ts"] - self.true[item["value"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        events = (await get(running, "events", robot="r", name="tick", limit=1000))["items"]
        assert events
        for event in events:
            found[-event["data"]["n"]] = event["ts"] - self.true[event["data"]["n"]]
        return found


@pytest.mark.parametrize("ahead", [-3 * DAY, 5 * SECOND, -1_763_712_000 * SECOND])
async def test_robot_with_a_wrong_clock_that_meets_the_hub_late_is_stored_in_true_time(
    tmp_path: Path, ahead: int
) -> None:
    scene = Scene(tmp_path)
    scene.robot.ahead = ahead
    scene.broker.down = True
    async with scene.edge("boot1") as runtime:
        await scene.run(15)
        scene.robot.ahead += 7200 * SECOND  # somebody sets its clock
        await scene.run(5)
        async with scene.hub() as running:
            scene.broker.down = False
            await scene.drained(runtime)
            await scene.run(3)
            await noted(running)
            errors = await scene.errors(running)
            assert len(errors) >= 200
            assert max(abs(error) for error in errors.values()) <= 2 * DELAY * SECOND
            assert await quarantine(running) == []
            status = (await get(running, "robots/r"))["status"]
            assert status["clock"]["round_trip"] <= 2 * DELAY * SECOND
            assert abs(status["clock"]["offset"] - (scene.clock.now() - scene.robot.now())) <= DELAY * SECOND
            assert status["sync"]["behind"] < 20


async def test_process_that_starts_again_in_the_same_boot_knows_the_time_at_once(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.robot.ahead = -3 * DAY
    async with scene.hub() as running:
        async with scene.edge("boot1") as runtime:
            await scene.run(5)
        scene.broker.down = True
        async with scene.edge("boot1") as runtime:
            assert runtime.clock.best is not None
            await scene.run(5)
            scene.broker.down = False
            await scene.drained(runtime)
            await scene.run(2)
            errors = await scene.errors(running)
        assert max(abs(error) for error in errors.values()) <= 2 * DELAY * SECOND


async def test_boot_before_the_hub_was_met_is_estimated_and_said_to_be(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    scene.robot.ahead = -1_763_712_000 * SECOND  # no battery for its clock: it begins in 1970
    scene.broker.down = True
    async with scene.edge("boot1"):
        await scene.run(130)
    last = scene.count
    await scene.run(60)
    scene.robot.booted = scene.clock.monotonic()
    async with scene.edge("boot2") as runtime:
        await scene.run(5)
        async with scene.hub() as running:
            scene.broker.down = False
            await scene.drained(runtime)
            await scene.run(2)
            await noted(running)
            errors = await scene.errors(running)
            (event,) = (await get(running, "events", robot="r", name="robot.time_uncertain"))["items"]
            assert await quarantine(running) == []
    assert event["data"]["boot"] == "boot1"
    guessed = {error for n, error in errors.items() if abs(n) <= last}
    assert max(guessed) - min(guessed) == 0, "right among each other"
    assert 60 * SECOND <= min(guessed) <= 130 * SECOND, "too late by as long as it was off, and as it was not noted"
    assert max(abs(error) for n, error in errors.items() if abs(n) > last) <= 2 * DELAY * SECOND
