"""What the fixtures of `fixtures.py` are: a hub and robots in one process, on a virtual clock.

Real edge runtimes and the real hub, with the network of the simulator between them. Everything here is called from
plain functions; time passes only while one of them asks for it.
"""

import asyncio
import difflib
import functools
import random
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml

from botyard.commands.request import Wanted
from botyard.core.actor import HUB
from botyard.core.config import Config as HubConfig
from botyard.core.hub import Hub
from botyard.core.tasks import Tasks
from botyard.plugin.manager import build_plugin_manager
from botyard_edge.config import Config, load_config
from botyard_edge.driver import Driver, DriverSpec
from botyard_edge.hookspecs import hookimpl
from botyard_edge.plugins import build_plugin_manager as build_edge_plugins
from botyard_plugins.simulation.befall import befall
from botyard_plugins.simulation.ledger import Ledger
from botyard_plugins.simulation.network import Network
from botyard_plugins.simulation.offstage import Offstage
from botyard_plugins.simulation.robot import SimulatedRobot
from botyard_plugins.simulation.scenario import NEEDS_DISK, FaultSettings
from botyard_plugins.simulation.scenario import schema as scenario_schema
from botyard_plugins.simulation.staged import Answer, Begun, Condition, Fleet, Robot
from botyard_plugins.simulation.world import PLUGINS
from botyard_schemas.virtual import LoopClock

__all__ = ["Answer", "Begun", "Faults", "Fleet", "MakeFleet", "MakeRobot", "Robot", "Stage", "StageClock"]

T = TypeVar("T")

ONLINE_WITHIN = 60.0  # s after its start
ARRIVED_WITHIN = 300.0  # s after the end of the faults
STEP = 0.1  # s between two looks at a condition

What = type[Driver] | DriverSpec | str | Path


class Stage:
    """A hub on a virtual clock, robots that join it, and what goes wrong with them. Nothing is started before the first
    robot; leaving ends everything. `folder` is empty, and holds the data of hub and robots."""

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.robots: dict[str, Robot] = {}
        self.clock = StageClock(self)
        self.robot = MakeRobot(self)
        self.fleet = MakeFleet(self)
        self.faults = Faults(self)
        self.folder = folder
        self.rng = random.Random(seed)
        self.hub: Hub
        self.network: Network
        self.loop_clock: LoopClock
        self.tasks: Tasks
        self._offstage = Offstage()
        self._ledger = Ledger()
        self._life: asyncio.Task[None] | None = None
        self._ending: asyncio.Event

    def __enter__(self) -> Self:
        self._offstage.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if self._life is not None and not self._life.done():  # else it was told where it was used
                self._offstage.run(self._end(self._life))
        finally:
            self._offstage.__exit__(*exc)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work in the loop of robots and hub. Raises what ended the hub, when something did."""
        try:
            return self._offstage.run(self._run(work))
        finally:
            work.close()  # which has no effect, unless it was not even begun

    def join(self, robots: Sequence[Robot]) -> None:
        """Start robots, and let time pass until the hub knows of each that it is there, and its state."""
        self.robots |= {robot.name: robot for robot in robots}
        self.run(_boot(robots))

        def there() -> bool:
            records = [self.hub.fleet.get(robot.name) for robot in robots]
            return all(one and one.state and one.presence.status == "online" for one in records)

        try:
            self.clock.advance_until(there, limit=ONLINE_WITHIN)
        except TimeoutError:
            names = ", ".join(robot.name for robot in robots if not robot.online)
            raise TimeoutError(f"{names} did not reach the hub within {ONLINE_WITHIN:g} s") from None

    def request(self, robot: str, name: str, args: dict[str, Any], within: float) -> Begun:
        """Have the hub ask a robot for a command. Raises CommandRefusedError."""

        async def request() -> Begun:
            assert self.hub.commands is not None  # noqa: S101 - the hub has its role
            wanted = Wanted(name=name, args=args, expires_in=within)
            return Begun(self, robot, await self.hub.commands.request(robot, wanted, HUB))

        return self.run(request())

    def simulated(self, config: Config, *, disk: bool) -> SimulatedRobot:
        """A robot that is not started yet. Raises ValueError for a name that is taken."""
        if config.robot in self.robots:
            raise ValueError(f"there is a robot {config.robot!r} already; give this one another name")
        self.run(asyncio.sleep(0))  # clock and network begin with the hub
        path = str(self.folder / f"{config.robot}.outbox.db") if disk else None
        settings = replace(config, outbox=replace(config.outbox, path=path), record=None, page=None)
        return SimulatedRobot(
            config.robot,
            config.drivers,
            self.network,
            self.loop_clock,
            random.Random(self.rng.getrandbits(64)),
            folder=config.folder,
            disk=disk,
            flush_timeout=config.flush_timeout,
            settings=settings,
        )

    def finish(self, robots: Sequence[Robot]) -> list[str]:
        """End them, and say what is wrong; see `Robot.finish`."""
        return self.run(self._finish(robots))

    async def _finish(self, robots: Sequence[Robot]) -> list[str]:
        store, names = self.hub.store, {robot.name for robot in robots}
        wrong = [sentence for robot in robots for sentence in robot.simulated.failed]
        await asyncio.gather(*(robot.simulated.halt(within=ARRIVED_WITHIN) for robot in robots))
        heads = [(one.name, epoch, head) for one in robots for epoch, head in one.simulated.heads.items()]
        wrong += await self._ledger.missing(store, heads)
        wrong += await self._ledger.doubled(store, sorted(names))
        refused = (await store.quarantined(limit=1000)).items
        return wrong + [f"{row.robot}: {row.reason}: {row.detail}" for row in refused if row.robot in {*names, None}]

    async def _run(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(work, name="stage.work")
        try:
            if self._life is None:
                await self._begin()
            assert self._life is not None  # noqa: S101 - it has begun
            await asyncio.wait({task, self._life}, return_when=asyncio.FIRST_COMPLETED)
            if self._life.done():
                self._life.result()
            return await task
        finally:
            task.cancel()

    async def _begin(self) -> None:
        ready = asyncio.Event()
        self._ending = asyncio.Event()
        self._life = asyncio.create_task(self._live(ready), name="stage.life")
        waiting = asyncio.create_task(ready.wait(), name="stage.ready")
        await asyncio.wait({waiting, self._life}, return_when=asyncio.FIRST_COMPLETED)
        if self._life.done():
            waiting.cancel()
            self._life.result()

    async def _live(self, ready: asyncio.Event) -> None:
        """The hub, from its beginning to its end. A task of its own, which outlasts the calls from outside."""
        self.loop_clock = clock = LoopClock(asyncio.get_running_loop())
        self.network = Network(clock, random.Random(self.rng.getrandbits(64)), self._ledger.sent)
        plugins = build_plugin_manager(defaults=PLUGINS)
        plugins.register(self.network)
        config = HubConfig(base=self.folder, data_dir=str(self.folder / "hub"), roles=("ingest",))
        async with Hub(config, clock=clock, plugins=plugins, processes=False) as self.hub, Tasks() as self.tasks:
            ready.set()
            await self._ending.wait()
            self.tasks.cancel()
            await asyncio.gather(*(robot.simulated.halt(within=0.0) for robot in self.robots.values()))

    async def _end(self, life: "asyncio.Task[None]") -> None:
        self._ending.set()
        await life


async def _boot(robots: Sequence[Robot]) -> None:
    for robot in robots:
        robot.simulated.boot()


class StageClock:
    """The time of robots and hub. It stands still but for what is called here, and in commands."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def advance(self, seconds: float) -> None:
        """Let this much time pass, with everything that happens in it."""
        self._stage.run(asyncio.sleep(seconds))

    def advance_until(self, condition: Condition, *, limit: float = 3600.0) -> None:
        """Let time pass until the condition holds; it is looked at ten times a second. Raises TimeoutError."""
        end = self.monotonic() + limit
        while not condition():
            if self.monotonic() >= end:
                raise TimeoutError(f"not so within {limit:g} virtual seconds")
            self.advance(STEP)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine in the loop of robots and hub, where a device's simulator can live beside them."""
        return self._stage.run(work)

    def now(self) -> int:
        """Microseconds since 1970."""
        self._stage.run(asyncio.sleep(0))
        return self._stage.loop_clock.now()

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        self._stage.run(asyncio.sleep(0))
        return self._stage.loop_clock.monotonic()


class MakeRobot:
    """Starts robots; the fixture `robot`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(
        self,
        driver: What = "sim",
        options: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        disk: bool = False,
        hang_after: float | None = None,
    ) -> Robot:
        """A robot that is online. `driver` is a class, a spec, the name of an installed one, or the path of a
        `robot.yaml`, which the other settings have no meaning for. `disk`: it keeps its outbox in a file. `hang_after`:
        seconds after which a silent driver is restarted. Raises SettingsError, TimeoutError, ValueError."""
        made = self._stage.fleet.make(driver, options, name, disk=disk, hang_after=hang_after)
        self._stage.join([made])
        return made


class MakeFleet:
    """Starts fleets; the fixture `fleet`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(
        self,
        count: int,
        driver: What = "sim",
        options: Mapping[str, Any] | None = None,
        *,
        name: str = "robot",
        disk: bool = False,
        hang_after: float | None = None,
    ) -> Fleet:
        """So many robots that are online: `name`-1, `name`-2 and so on. Otherwise as for a single robot."""
        robots = [
            self.make(driver, options, f"{name}-{number}", disk=disk, hang_after=hang_after)
            for number in range(1, count + 1)
        ]
        self._stage.join(robots)
        return Fleet(self._stage, robots)

    def make(
        self, driver: What, options: Mapping[str, Any] | None, name: str | None, *, disk: bool, hang_after: float | None
    ) -> Robot:
        """A robot that is not started yet."""
        config = self._config(driver, options, name, hang_after)
        return Robot(self._stage, self._stage.simulated(config, disk=disk), disk=disk)

    def _config(
        self, driver: What, options: Mapping[str, Any] | None, name: str | None, hang_after: float | None
    ) -> Config:
        if isinstance(driver, Path):
            config = load_config(driver, {})
            return replace(config, robot=name) if name else config
        name = name or f"robot-{len(self._stage.robots) + 1}"
        spec = _spec(driver)
        kind = spec.name if spec is not None else str(driver)
        # Through a file, so that options are checked, and mistakes told, as a robot's own are.
        path = self._stage.folder / f"{name}.yaml"
        part = {"options": dict(options or {})} | ({"hang_after": hang_after} if hang_after is not None else {})
        path.write_text(yaml.safe_dump({"robot": name, "drivers": {kind: part}}), encoding="utf-8")
        plugins = build_edge_plugins()
        if spec is not None:
            plugins.register(_Brings(spec))
        return load_config(path, {}, plugins=plugins)


class _Brings:
    """A plugin with the driver under test."""

    def __init__(self, spec: DriverSpec) -> None:
        self._spec = spec

    @hookimpl
    def botyard_edge_drivers(self) -> list[DriverSpec]:
        return [self._spec]


def _spec(driver: type[Driver] | DriverSpec | str | Path) -> DriverSpec | None:
    if isinstance(driver, DriverSpec):
        return driver
    if isinstance(driver, type):
        return DriverSpec(driver.__name__.lower(), driver.__doc__ or "", driver, {"type": "object"})
    return None


class Faults:
    """Lets something go wrong; the fixture `faults`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def __call__(
        self,
        name: str,
        *robots: Robot | Fleet,
        seconds: float = 10.0,
        value: float = 0.5,
        jitter: float = 0.0,
        channel: str | None = None,
    ) -> None:
        """From now on, for so many seconds, a fault of the table in docs/integrators/simulator.md befalls these robots;
        all, when none is named. Raises ValueError for what cannot be."""
        known: list[str] = scenario_schema()["properties"]["faults"]["items"]["properties"]["fault"]["enum"]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f", did you mean {close[0]!r}?" if close else f", known are {', '.join(known)}"
            raise ValueError(f"there is no fault {name!r}{hint}")
        if name.startswith("sensor_") and channel is None:
            raise ValueError(f"{name} is about a channel: name it, as channel='battery.voltage'")
        chosen = [robot for one in robots for robot in (one if isinstance(one, Fleet) else [one])]
        chosen = chosen or list(self._stage.robots.values())
        if without := [robot.name for robot in chosen if name in NEEDS_DISK and not robot.disk]:
            raise ValueError(f"{name}: {', '.join(without)} would lose what is not sent yet: make it with disk=True")
        what = FaultSettings(name, lasts=seconds, value=value, jitter=jitter, channel=channel or "")
        self._stage.run(self._begin(what, chosen))

    async def _begin(self, what: FaultSettings, robots: Sequence[Robot]) -> None:
        stage = self._stage
        for robot in robots:
            seed = stage.rng.getrandbits(64)
            work = befall(
                robot.simulated,
                what,
                what.lasts,
                network=stage.network,
                clock=stage.loop_clock,
                rng=functools.partial(random.Random, seed),
            )
            stage.tasks.start(work, f"stage.{what.fault}.{robot.name}")
        await asyncio.sleep(0)
