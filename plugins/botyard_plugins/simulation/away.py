"""A fleet in real time, at a hub that runs elsewhere: the same robots and faults, over real connections.

What a scenario asks of robots is asked of the hub's API, and whether everything arrived is asked there, too.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from botyard_edge.config import Config, DriverSettings
from botyard_edge.plugins import build_plugin_manager, drivers
from botyard_edge.transport import Transport
from botyard_plugins.simulation import door, judging, pacing, report
from botyard_plugins.simulation.befall import befall
from botyard_plugins.simulation.door import HubError
from botyard_plugins.simulation.errands import Errands
from botyard_plugins.simulation.hubapi import HubApi, NoAnswerError
from botyard_plugins.simulation.ledger import Ledger
from botyard_plugins.simulation.report import Invariant, Pace, Report
from botyard_plugins.simulation.robot import SimulatedRobot
from botyard_plugins.simulation.scenario import (
    NEEDS_DISK,
    Errand,
    Fault,
    Scenario,
    commands,
    faults,
    limits_of_robots,
    options_of_robots,
    settings_of_robots,
)
from botyard_plugins.simulation.verdict import Found, Verdict
from botyard_plugins.simulation.ways import OPENED_A_SECOND, OPENED_SLOWLY, Ways
from botyard_schemas.clock import Clock, SystemClock

PLAN = Path(__file__).with_name("warehouse.yaml")
TOLD_EVERY = 1.0
# Seconds in which a fleet has to be there, beside what its connections take one after another.
THERE_WITHIN = 60.0
LOOK_EVERY = 0.2
# Seconds between two looks at how many robots have to be started by now.
BOOT_EVERY = 0.05
# Seconds that robots have for what is left when somebody ends the simulation before its time.
HURRY = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where the hub is: ways that robots take in turn, and the API with its token. Robots are named by the prefix."""

    ways: Sequence[str]
    api: str
    token: str | None = None
    prefix: str = "robot-"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: seconds since the beginning (negative before it), and how many robots have a connection."""

    seconds: float
    connected: int


async def run(
    scenario: Scenario,
    seed: int,
    hub: Address,
    folder: Path,
    *,
    told: Callable[[Progress], None] = lambda _: None,
    stop: asyncio.Event | None = None,
) -> Report:
    """Run a scenario in real time, with the robots' files in `folder`, until its end or until `stop` is set.

    Raises HubError when the fleet cannot be run there at all.
    """
    clock = SystemClock()
    with pacing.rare_collections():
        async with HubApi(hub.api, hub.token, clock, scenario.settle) as api:
            return await Away(scenario, seed, hub, folder, api, clock, told, stop or asyncio.Event()).run()


class Away:
    """One run of a scenario at a real hub."""

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        hub: Address,
        folder: Path,
        api: HubApi,
        clock: Clock,
        told: Callable[[Progress], None],
        stop: asyncio.Event,
    ) -> None:
        self._scenario = scenario
        self._seed = seed
        self._hub = hub
        self._folder = folder
        self._api = api
        self._clock = clock
        self._told = told
        self._stop = stop
        self._ledger = Ledger()
        self._robots: list[SimulatedRobot] = []
        self._ways: Ways
        self._free: float | None = None
        self._began = 0.0
        self._lasted = 0.0
        self._behind = 0.0
        self._queue = scenario.robots / OPENED_SLOWLY

    async def run(self) -> Report:
        """Run it, wait until everything has arrived, and check."""
        scenario, rng = self._scenario, random.Random(self._seed)
        planned = faults(scenario, random.Random(rng.getrandbits(64)))
        rng_of_ways = random.Random(rng.getrandbits(64))
        errands = commands(scenario, random.Random(rng.getrandbits(64)))
        names = [f"{self._hub.prefix}{number}" for number in range(1, scenario.robots + 1)]
        with_disk = {fault.robot for fault in planned if fault.what.fault in NEEDS_DISK}
        door.check_files(scenario.robots, len(with_disk))
        verdict = Verdict(self._api, self._ledger, await door.check_hub(self._api, names))
        settings = self._settings()
        self._ways = Ways(self._transports(settings, names), self._clock, rng_of_ways, self._ledger.sent)
        for way, name in zip(settings, names, strict=False):
            await door.check_way(door.transport_of(way, name), name)
        await verdict.begin()
        self._free = pacing.memory()
        self._make(settings[0], names, with_disk, rng)
        asked = Errands(self._api, self._clock, names, f"sim-{rng.getrandbits(48):012x}")
        unwell, pace = await self._live(planned, asked, errands)
        heads = {robot.name: robot.heads for robot in self._robots}
        found = await verdict.reach(heads, asked, lambda errand: self._excused(errand, planned), scenario.settle)
        return self._report(planned, unwell, found, pace)

    def _settings(self) -> list[Config]:
        whole = settings_of_robots(self._scenario, self._folder)
        return [door.settings_for(whole, url, self._hub.token, self._queue) for url in self._hub.ways]

    def _transports(self, settings: list[Config], names: list[str]) -> Callable[[str], Transport]:
        way = {name: settings[number % len(settings)] for number, name in enumerate(names)}
        return lambda robot: door.transport_of(way[robot], robot)

    def _make(self, settings: Config, names: list[str], with_disk: set[int], rng: random.Random) -> None:
        spec = drivers(build_plugin_manager())["sim"]
        options = options_of_robots(self._scenario, PLAN, spec)
        limits = limits_of_robots(settings, options)
        self._robots = [
            SimulatedRobot(
                name,
                [DriverSettings("sim", spec, options)],
                self._ways,
                self._clock,
                random.Random(rng.getrandbits(64)),
                folder=self._folder,
                disk=number in with_disk,
                flush_timeout=settings.flush_timeout,
                settings=settings,
                limits=limits,
            )
            for number, name in enumerate(names, 1)
        ]

    # --- from the first robot to the last

    async def _live(self, planned: list[Fault], asked: Errands, errands: list[Errand]) -> tuple[list[str], Pace]:
        """Let the fleet live; gives what was wrong with nodes in the end, and how well real time was held."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._halt, 0.0)
            await self._assemble()
            used, free = pacing.memory(), self._free
            await stack.enter_async_context(pacing.settled_garbage())
            pacer = await stack.enter_async_context(pacing.Pacer(self._clock))
            self._began = self._clock.monotonic()
            await self._let_happen(planned, asked, errands)
            self._lasted = self._clock.monotonic() - self._began
            pace = pacer.pace(None if used is None or free is None else (used - free) / len(self._robots))
            unwell = [sentence for robot in self._robots for sentence in robot.failed]
            unwell += await self._halt(HURRY if self._stop.is_set() else None)
        return unwell, pace

    async def _assemble(self) -> None:
        """Start the robots one after another, and wait until the hub knows all of them. Raises HubError."""
        began, count = self._clock.monotonic(), len(self._robots)
        within = THERE_WITHIN + self._queue
        booted, missing = 0, {robot.name for robot in self._robots}
        while missing:
            due = min(count, 1 + int((self._clock.monotonic() - began) * OPENED_A_SECOND))
            for robot in self._robots[booted:due]:  # by the clock, as a loop that is late would take for ever
                robot.boot()
            booted = due
            self._told(Progress(0.0, self._ways.connected))
            if self._ways.connected == count:
                with contextlib.suppress(NoAnswerError):
                    missing -= {one.id for one in await self._api.robots() if one.status.presence.status == "online"}
            if self._stop.is_set():
                raise HubError("it was ended before all robots were there")
            if missing and self._clock.monotonic() - began > within:
                raise HubError(self._absence(missing, within))
            wanted = self._clock.monotonic() + BOOT_EVERY
            await self._clock.sleep(BOOT_EVERY if booted < count else LOOK_EVERY)
            self._behind = max(0.0, self._clock.monotonic() - wanted - LOOK_EVERY)

    def _absence(self, missing: set[str], within: float) -> str:
        """Why a fleet did not come together."""
        count, there = len(self._robots), self._ways.connected
        if self._behind > 1.0:
            return (
                f"after {within:g} s {there:,} of {count:,} robots have a connection, and this process is "
                f"{self._behind:.1f} s late: the machine is too busy for so many"
            )
        if there < count:
            return (
                f"after {within:g} s {there:,} of {count:,} robots have a connection to {', '.join(self._hub.ways)}; "
                f"{'; '.join(self._ways.trouble()[:3])}"
            )
        return (
            f"after {within:g} s the hub at {self._api.url} does not know {len(missing):,} of {count:,} robots to be "
            f"online, such as {min(missing)}: is it the hub behind {', '.join(self._hub.ways)}?"
        )

    async def _let_happen(self, planned: list[Fault], asked: Errands, errands: list[Errand]) -> None:
        async with asyncio.TaskGroup() as tasks:
            doing = [tasks.create_task(asked.run(errands, self._began), name="simulation.commands")]
            doing += [tasks.create_task(self._befall(one), name=f"simulation.{one.what.fault}") for one in planned]
            while (elapsed := self._clock.monotonic() - self._began) < self._scenario.seconds:
                self._told(Progress(elapsed, self._ways.connected))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(TOLD_EVERY, self._scenario.seconds - elapsed)):
                        await self._stop.wait()
                        break
            if self._stop.is_set():
                for task in doing:
                    task.cancel()

    async def _befall(self, fault: Fault) -> None:
        """One fault, from its beginning to its end."""
        await self._clock.sleep(max(0.0, self._began + fault.at - self._clock.monotonic()))
        await befall(
            self._robots[fault.robot - 1],
            fault.what,
            fault.until - fault.at,
            network=self._ways,
            clock=self._clock,
            rng=lambda: random.Random(f"{self._seed} {fault.at} {fault.robot}"),
        )

    async def _halt(self, within: float | None) -> list[str]:
        """End all robots at once; gives how their lives ended where that was no end of theirs."""
        ends = await asyncio.gather(*(robot.halt(within=within) for robot in self._robots), return_exceptions=True)
        return [
            f"{robot.name}: its edge ended by {type(end).__name__}: {end}"
            for robot, end in zip(self._robots, ends, strict=True)
            if isinstance(end, Exception)
        ]

    # --- what came of it

    def _excused(self, errand: Errand, planned: list[Fault]) -> bool:
        """Whether the robot may not have heard the command: by a fault, or as it had no connection meanwhile."""
        begin = self._began + errand.at
        name = self._robots[errand.robot - 1].name
        return judging.excused(errand, planned) or self._ways.without(name, begin, begin + errand.what.expires)

    def _report(self, planned: list[Fault], unwell: list[str], found: Found, pace: Pace) -> Report:
        left = [
            f"{robot.name}: {count} messages are left"
            for robot in self._robots
            if (count := robot.runtime.outbox.backlog)
        ]
        return Report(
            scenario=self._scenario.name,
            seed=self._seed,
            robots=self._scenario.robots,
            seconds=round(self._lasted, 1),
            messages=self._ledger.messages,
            copies=self._ledger.copies,
            samples=self._ledger.samples,
            faults=report.counted(planned),
            commands=found.commands,
            driven=round(sum(robot.witness.driven for robot in self._robots if robot.witness is not None), 1),
            events=found.events,
            invariants=[
                Invariant("everything is acknowledged", left),
                *found.invariants,
                *judging.of_robots(self._robots, unwell),
            ],
            pace=pace,
        )
