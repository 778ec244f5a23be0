"""A fleet in real time, at a hub that runs elsewhere: the same robots and faults, over real connections."""

import asyncio
import contextlib
import random
from collections import ChainMap
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from botyard_edge.config import Config, DriverSettings
from botyard_edge.plugins import build_plugin_manager, drivers
from botyard_edge.transport import Received, Session, Transport, TransportError, Will
from botyard_edge.transports import make_transports
from botyard_plugins.simulation import report
from botyard_plugins.simulation.befall import befall
from botyard_plugins.simulation.network import PERFECT, Way
from botyard_plugins.simulation.report import Invariant, Report
from botyard_plugins.simulation.robot import SimulatedRobot
from botyard_plugins.simulation.scenario import (
    NEEDS_DISK,
    Fault,
    Scenario,
    faults,
    limits_of_robots,
    options_of_robots,
    settings_of_robots,
)
from botyard_schemas.clock import Clock, SystemClock

PLAN = Path(__file__).with_name("warehouse.yaml")
TOLD_EVERY = 1.0
# Seconds between two robots that come up, so that they do not all connect at once.
RAMP = 0.01


@dataclass(slots=True)
class _Robot:
    inner: Transport
    way: Way = field(default_factory=Way)
    session: "_Session | None" = None
    changes: list[dict[str, Any]] = field(default_factory=list)


class Ways:
    """The robots' ways to the hub, made worse at their robots' end. Messages do not change their order."""

    def __init__(self, make: Callable[[str], Transport], clock: Clock, rng: random.Random) -> None:
        self._make = make
        self.clock = clock
        self.rng = rng
        self._robots: dict[str, _Robot] = {}

    def edge(self, robot: str) -> "WorseTransport":
        """A robot's transport."""
        if robot not in self._robots:
            self._robots[robot] = _Robot(self._make(robot))
        return WorseTransport(self, self._robots[robot])

    def power_off(self, robot: str) -> None:
        """The robot is gone, in the middle of whatever it said."""
        if session := self._robots[robot].session:
            session.break_off()

    async def meanwhile(self, robot: str, changes: Mapping[str, Any], seconds: float) -> None:
        """As `Network.meanwhile`."""
        one, change = self._robots[robot], dict(changes)
        one.changes.append(change)
        self._changed(one)
        await self.clock.sleep(seconds)
        one.changes = [left for left in one.changes if left is not change]
        self._changed(one)

    def _changed(self, one: _Robot) -> None:
        for name, value in ChainMap(*reversed(one.changes), msgspec.structs.asdict(PERFECT)).items():
            setattr(one.way, name, value)
        if one.session is not None:
            if one.way.down:
                one.session.break_off()
            one.session.look()


@dataclass(frozen=True, slots=True)
class WorseTransport:
    """A robot's real transport, as far as the simulation lets it through."""

    ways: Ways
    robot: _Robot

    @property
    def address(self) -> str:
        return self.robot.inner.address

    @contextlib.asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        if self.robot.way.down or self.robot.way.silent:
            raise TransportError("the simulation lets nothing through")
        async with self.robot.inner.session(will) as inner:
            session = self.robot.session = _Session(inner, self.robot.way, self.ways)
            try:
                yield session
            finally:
                if self.robot.session is session:
                    self.robot.session = None


class _Session:
    def __init__(self, inner: Session, way: Way, ways: Ways) -> None:
        self._inner = inner
        self._way = way
        self._ways = ways
        self._broken = asyncio.Event()
        self._open = asyncio.Event()
        self.look()

    def look(self) -> None:
        """The way has changed."""
        if self._way.silent and not self._broken.is_set():
            self._open.clear()
        else:
            self._open.set()

    def break_off(self) -> None:
        """The connection is cut."""
        self._broken.set()
        self.look()

    async def subscribe(self, topic: str) -> None:
        await self._inner.subscribe(topic)

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        way = self._way
        if not qos and self._chance(way.loss):
            return
        if way.latency or way.jitter:
            await self._ways.clock.sleep(way.latency + self._ways.rng.uniform(0.0, way.jitter))
        await self._pass()
        for _ in range(2 if self._chance(way.duplicates) else 1):
            await self._inner.publish(topic, payload, qos=qos, retain=retain, wait=wait)

    async def messages(self) -> AsyncIterator[Received]:
        incoming = aiter(self._inner.messages())
        broken = asyncio.create_task(self._broken.wait(), name="simulation.broken")
        try:
            while True:
                following = asyncio.ensure_future(anext(incoming))
                await asyncio.wait([following, broken], return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                await self._pass()
                yield following.result()
        finally:
            broken.cancel()

    async def _pass(self) -> None:
        await self._open.wait()
        if self._broken.is_set():
            raise TransportError("the simulation cut the connection")

    def _chance(self, share: float) -> bool:
        return share > 0.0 and self._ways.rng.random() < share


async def run(
    scenario: Scenario, seed: int, url: str, folder: Path, progress: Callable[[float], None] = lambda _: None
) -> Report:
    """Run a scenario at the hub behind `url`, in real time, with the robots' files in `folder`.

    What it can check is the robots' side: that the hub has acknowledged everything, nodes, limits and safe mode.
    """
    rng, clock = random.Random(seed), SystemClock()
    planned = faults(scenario, random.Random(rng.getrandbits(64)))
    settings = settings_of_robots(scenario, folder)
    settings = replace(settings, transports=(replace(settings.transports[0], url=url),))
    ways = Ways(lambda robot: _transport(settings, robot), clock, random.Random(rng.getrandbits(64)))
    robots = _make(scenario, settings, planned, ways, clock, rng, folder)
    async with AsyncExitStack() as stack:
        for robot in robots:
            await stack.enter_async_context(robot)
            await clock.sleep(RAMP)
        began = clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for fault in planned:
                work = _befall(robots[fault.robot - 1], fault, began, ways, clock, seed)
                tasks.create_task(work, name=f"simulation.{fault.what.fault}")
            while (elapsed := clock.monotonic() - began) < scenario.seconds:
                progress(elapsed)
                await clock.sleep(min(TOLD_EVERY, scenario.seconds - elapsed))
        unwell = [sentence for robot in robots for sentence in robot.failed]
        await asyncio.gather(*(robot.halt() for robot in robots))
    return _report(scenario, seed, planned, robots, unwell)


def _transport(settings: Config, robot: str) -> Transport:
    return make_transports(replace(settings, robot=robot))[0]


def _make(
    scenario: Scenario,
    settings: Config,
    planned: list[Fault],
    ways: Ways,
    clock: Clock,
    rng: random.Random,
    folder: Path,
) -> list[SimulatedRobot]:
    spec = drivers(build_plugin_manager())["sim"]
    options = options_of_robots(scenario, PLAN, spec)
    with_disk = {fault.robot for fault in planned if fault.what.fault in NEEDS_DISK}
    return [
        SimulatedRobot(
            f"robot-{number}",
            [DriverSettings("sim", spec, options)],
            ways,
            clock,
            random.Random(rng.getrandbits(64)),
            folder=folder,
            disk=number in with_disk,
            flush_timeout=settings.flush_timeout,
            settings=settings,
            limits=limits_of_robots(settings, options),
        )
        for number in range(1, scenario.robots + 1)
    ]


async def _befall(robot: SimulatedRobot, fault: Fault, began: float, ways: Ways, clock: Clock, seed: int) -> None:
    await clock.sleep(max(0.0, began + fault.at - clock.monotonic()))
    await befall(
        robot,
        fault.what,
        fault.until - fault.at,
        network=ways,
        clock=clock,
        rng=lambda: random.Random(f"{seed} {fault.at} {fault.robot}"),
    )


def _report(
    scenario: Scenario, seed: int, planned: list[Fault], robots: list[SimulatedRobot], unwell: list[str]
) -> Report:
    witnesses = [robot.witness for robot in robots if robot.witness is not None]
    left = [f"{robot.name}: {count} messages are left" for robot in robots if (count := robot.runtime.outbox.backlog)]
    late = [sentence for robot in robots for sentence in robot.late]
    return Report(
        scenario=scenario.name,
        seed=seed,
        robots=scenario.robots,
        seconds=scenario.seconds,
        messages=sum(head for robot in robots for head in robot.heads.values()),
        copies=0,
        samples=0,
        faults=report.counted(planned),
        commands={},
        driven=round(sum(witness.driven for witness in witnesses), 1),
        events={},
        invariants=[
            Invariant("everything is acknowledged", left),
            Invariant("every node runs in the end", unwell),
            Invariant("no limit is exceeded", [sentence for one in witnesses for sentence in one.exceeded]),
            Invariant(
                "safe mode comes within its deadline",
                late + [sentence for one in witnesses for sentence in one.restless],
            ),
        ],
    )
