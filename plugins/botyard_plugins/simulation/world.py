"""A hub and a fleet in one process and on one clock, a network in memory between them, and what goes wrong."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec

from botyard.commands.request import CommandRefusedError, Wanted
from botyard.core.actor import HUB
from botyard.core.config import Config
from botyard.core.hub import Hub
from botyard.plugin.manager import DEFAULT_PLUGINS, build_plugin_manager
from botyard_edge.config import DriverSettings
from botyard_edge.plugins import build_plugin_manager as build_edge_plugins
from botyard_edge.plugins import drivers
from botyard_plugins.simulation import judging, report
from botyard_plugins.simulation.befall import befall
from botyard_plugins.simulation.ledger import Ledger
from botyard_plugins.simulation.network import Network
from botyard_plugins.simulation.pacing import rare_collections
from botyard_plugins.simulation.report import Invariant, Report
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
from botyard_schemas import virtual
from botyard_schemas.virtual import LoopClock

PLAN = Path(__file__).with_name("warehouse.yaml")
PLUGINS = tuple(name for name in DEFAULT_PLUGINS if "transport" not in name and "simulation" not in name)
# How often progress is told, in seconds of the fleet's time.
TOLD_EVERY = 1.0

Progress = Callable[[float], None]


class Outcome(msgspec.Struct, frozen=True):
    """A report, and the log that the same seed makes again, byte for byte."""

    report: Report
    log: list[bytes]


def simulate(scenario: Scenario, seed: int, folder: Path, progress: Progress = lambda _: None) -> Outcome:
    """Run a scenario in virtual time, with the hub's data in the empty `folder`."""
    with rare_collections():
        return virtual.run(World(scenario, seed, folder, progress).run())


class World:
    """One run of a scenario. `progress` hears how many seconds have passed."""

    def __init__(self, scenario: Scenario, seed: int, folder: Path, progress: Progress) -> None:
        self._scenario = scenario
        self._seed = seed
        self._folder = folder
        self._progress = progress
        self._rng = random.Random(seed)
        self._ledger = Ledger()
        self._robots: list[SimulatedRobot] = []
        self._asked: list[tuple[Errand, str]] = []
        self._unasked: list[str] = []
        self._network: Network

    async def run(self) -> Outcome:
        """Run it, wait until everything has arrived, and check."""
        scenario = self._scenario
        clock = LoopClock(asyncio.get_running_loop())
        planned = faults(scenario, random.Random(self._rng.getrandbits(64)))
        self._network = Network(clock, random.Random(self._rng.getrandbits(64)), self._ledger.sent)
        plugins = build_plugin_manager(defaults=PLUGINS)
        plugins.register(self._network)
        config = Config(base=self._folder, data_dir=str(self._folder), roles=("ingest",))
        start = clock.now()
        errands = commands(scenario, random.Random(self._rng.getrandbits(64)))
        async with Hub(config, clock=clock, plugins=plugins, processes=False) as hub:
            async with AsyncExitStack() as stack:
                for robot in self._make(clock, planned):
                    self._robots.append(await stack.enter_async_context(robot))
                await self._let_happen(clock, planned, errands, hub)
                unwell = [sentence for robot in self._robots for sentence in robot.failed]
                await asyncio.gather(*(robot.halt() for robot in self._robots))
            ends = await self._ends(hub, planned)
            invariants = await self._invariants(hub, unwell, ends)
            happened = await report.events(hub.store)
        found = Report(
            scenario=scenario.name,
            seed=self._seed,
            robots=scenario.robots,
            seconds=scenario.seconds,
            messages=self._ledger.messages,
            copies=self._ledger.copies,
            samples=self._ledger.samples,
            faults=report.counted(planned),
            commands=dict(sorted(Counter(status for _, status in ends).items())),
            driven=round(sum(robot.witness.driven for robot in self._robots if robot.witness), 1),
            events=report.named(happened),
            invariants=invariants,
        )
        return Outcome(found, report.log(scenario, start, planned, happened, self._folder))

    def _make(self, clock: LoopClock, planned: list[Fault]) -> list[SimulatedRobot]:
        spec = drivers(build_edge_plugins())["sim"]
        with_disk = {fault.robot for fault in planned if fault.what.fault in NEEDS_DISK}
        options = options_of_robots(self._scenario, PLAN, spec)
        settings = settings_of_robots(self._scenario, self._folder)
        limits = limits_of_robots(settings, options)
        robots = []
        for number in range(1, self._scenario.robots + 1):
            rng = random.Random(self._rng.getrandbits(64))
            robots.append(
                SimulatedRobot(
                    f"robot-{number}",
                    (DriverSettings("sim", spec, options),),
                    self._network,
                    clock,
                    rng,
                    folder=self._folder,
                    disk=number in with_disk,
                    flush_timeout=settings.flush_timeout,
                    settings=settings,
                    limits=limits,
                )
            )
        return robots

    async def _let_happen(self, clock: LoopClock, planned: list[Fault], errands: list[Errand], hub: Hub) -> None:
        """Begin and end the faults and send the commands at their times, until the end."""
        began = clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._send(clock, began, errands, hub), name="simulation.commands")
            for fault in planned:
                tasks.create_task(self._befall(clock, began, fault), name=f"simulation.{fault.what.fault}")
            while (elapsed := clock.monotonic() - began) < self._scenario.seconds:
                self._progress(elapsed)
                await clock.sleep(min(TOLD_EVERY, self._scenario.seconds - elapsed))

    async def _send(self, clock: LoopClock, began: float, errands: list[Errand], hub: Hub) -> None:
        """Ask the robots for what they are to do."""
        assert hub.commands is not None  # noqa: S101 - it has the role ingest
        for errand in errands:
            await clock.sleep(began + errand.at - clock.monotonic())
            what, robot = errand.what, self._robots[errand.robot - 1].name
            wanted = Wanted(name=what.command, args=what.args, expires_in=what.expires)
            try:
                row = await hub.commands.request(robot, wanted, HUB)
                self._asked.append((errand, row.id))
            except (CommandRefusedError, KeyError) as error:
                self._unasked.append(f"{robot}: {what.command} was not taken in: {error}")

    async def _befall(self, clock: LoopClock, began: float, fault: Fault) -> None:
        """One fault, from its beginning to its end."""
        await clock.sleep(began + fault.at - clock.monotonic())
        await befall(
            self._robots[fault.robot - 1],
            fault.what,
            fault.until - fault.at,
            network=self._network,
            clock=clock,
            rng=lambda: random.Random(f"{self._seed} {fault.at} {fault.robot}"),
        )

    async def _ends(self, hub: Hub, planned: list[Fault]) -> list[judging.End]:
        """What became of each command, once the robots are gone."""
        found = []
        for errand, command in self._asked:
            row = await hub.store.command(command)
            status, answered = (row.status, row.answered is not None) if row else ("lost", True)
            what = f"robot-{errand.robot}: {errand.what.command}"
            found.append(judging.end(what, status, answered=answered, excused=judging.excused(errand, planned)))
        return found

    async def _invariants(self, hub: Hub, unwell: list[str], ends: list[judging.End]) -> list[Invariant]:
        heads = [(robot.name, epoch, head) for robot in self._robots for epoch, head in robot.heads.items()]
        names = [robot.name for robot in self._robots]
        quarantined = (await hub.store.quarantined(limit=100)).items
        return [
            Invariant("nothing is lost", await self._ledger.missing(hub.store, heads)),
            Invariant("nothing is doubled", await self._ledger.doubled(hub.store, names)),
            Invariant("nothing is refused", [f"{row.robot}: {row.reason}: {row.detail}" for row in quarantined]),
            judging.of_commands(ends, self._unasked),
            *judging.of_robots(self._robots, unwell),
        ]
