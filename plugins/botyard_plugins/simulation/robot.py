"""A simulated robot: the edge runtime that real robots run, with all that can go wrong with it."""

import asyncio
import functools
import random
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from botyard_edge.config import Config, DriverSettings, OutboxSettings
from botyard_edge.driver import Driver, DriverContext, DriverSpec
from botyard_edge.durable import SqliteOutbox
from botyard_edge.hubtime import HubClock
from botyard_edge.outbox import Outbox
from botyard_edge.runtime import Runtime, make_outbox
from botyard_edge.writing import Durability
from botyard_plugins.simulation.network import Surroundings
from botyard_plugins.simulation.trouble import RobotClock, Trouble, TroubledDriver
from botyard_plugins.simulation.witness import MotionLimits, Witness
from botyard_schemas.clock import Clock

# Seconds beyond the timeout of the policy within which a robot without a connection has to be in safe mode.
SAFE_WITHIN = 1.0


class SimulatedRobot:
    """Runs while its `async with` lasts. With `disk` it keeps its outbox in the folder, and can be restarted.

    `settings` are what it has in common with others; `flush_timeout` is what a halt gives it to send what is left.
    With `limits` it has a witness. `late` is where safe mode did not come in time.
    """

    def __init__(
        self,
        name: str,
        drivers: Sequence[DriverSettings],
        network: Surroundings,
        clock: Clock,
        rng: random.Random,
        *,
        folder: Path,
        disk: bool,
        flush_timeout: float,
        settings: Config | None = None,
        limits: MotionLimits | None = None,
    ) -> None:
        self.name = name
        self.clock = RobotClock(clock)
        self.witness = Witness(name, limits) if limits is not None else None
        self.trouble = Trouble(clock, random.Random(rng.getrandbits(64)), self.witness)
        self.full = False  # the disk
        self.late: list[str] = []
        self.heads: dict[str, int] = {}
        self._rng = rng
        self._network = network
        self._runtime: Runtime | None = None
        self._life: asyncio.Task[None] | None = None
        self._boots = 0
        settings = settings or Config(name, (), outbox=OutboxSettings(durability=Durability("each")))
        path = (settings.outbox.path or "{robot}.outbox.db").replace("{robot}", name)
        self._config = replace(
            settings,
            robot=name,
            drivers=tuple(replace(one, spec=_troubled(one.spec, self.trouble)) for one in drivers),
            folder=folder,
            outbox=replace(settings.outbox, path=path if disk or settings.outbox.path else None),
            flush_timeout=flush_timeout,
        )

    async def __aenter__(self) -> Self:
        self.boot()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self.halt()

    def boot(self) -> None:
        """Start the runtime, once it has ended."""
        self._boots += 1
        rng = random.Random(self._rng.getrandbits(64))
        transport = self._network.edge(self.name)
        boot = f"{self.name}-{self._boots}"
        self._runtime = Runtime(
            self._config, clock=self.clock, rng=rng, transport=transport, boot=boot, outboxes=self._make_outbox
        )
        self._life = asyncio.create_task(self._live(self._runtime), name=f"simulation.{self.name}")

    async def halt(self, *, within: float | None = None) -> None:
        """End the runtime; it gives what is left so many seconds to reach the hub (None: as its settings say)."""
        if self._runtime is None or self._life is None:
            return
        if within is not None:
            self._runtime.config = replace(self._config, flush_timeout=within)
        self._runtime.stop()
        await self._life

    @property
    def runtime(self) -> Runtime:
        """The runtime of its latest boot."""
        assert self._runtime is not None  # noqa: S101 - it is booted when it is entered
        return self._runtime

    @property
    def failed(self) -> list[str]:
        """Nodes that do not run just now."""
        nodes = self._runtime.state.snapshot().nodes if self._runtime else {}
        return [f"{self.name}: {name} is {node.status}" for name, node in nodes.items() if node.status != "running"]

    async def _live(self, runtime: Runtime) -> None:
        guard = asyncio.create_task(self._watch_link(runtime), name=f"simulation.{self.name}.link")
        try:
            await runtime.run()
        finally:
            guard.cancel()
            await asyncio.gather(guard, return_exceptions=True)
            self.heads[runtime.outbox.epoch] = runtime.outbox.head

    def _make_outbox(
        self, config: Config, clock: HubClock, rng: random.Random, on_trouble: Callable[[str | None], None]
    ) -> Outbox:
        settings = config.outbox
        if settings.path is None:
            return make_outbox(config, clock, rng, on_trouble)
        return FillingOutbox(
            config.robot,
            config.folder / settings.path,
            full=lambda: self.full,
            clock=clock,
            rng=rng,
            limits=settings.limits,
            durability=settings.durability,
            stamp=clock.stamp,
            on_trouble=on_trouble,
        )

    async def _watch_link(self, runtime: Runtime) -> None:
        """Whether the robot is in safe mode in time, whenever it has been without a connection for too long."""
        watchdogs = runtime.safety.policy.watchdogs
        if watchdogs.link != "stop":
            return
        with runtime.bus.subscribe("link/connected") as changes:
            connected = False
            while True:
                if not connected:
                    try:
                        async with asyncio.timeout(watchdogs.link_timeout + SAFE_WITHIN):
                            connected = bool((await changes.get()).value)
                        continue
                    except TimeoutError:
                        if runtime.safety.mode not in ("safe", "estop"):
                            lasted, mode = watchdogs.link_timeout + SAFE_WITHIN, runtime.safety.mode
                            self.late.append(f"{self.name}: no connection for {lasted:g} s, and its mode was {mode}")
                connected = bool((await changes.get()).value)


class FillingOutbox(SqliteOutbox):
    """An outbox on a disk that may be full."""

    def __init__(self, robot: str, path: Path, *, full: Callable[[], bool], **rest: Any) -> None:
        super().__init__(robot, path, **rest)
        self._full = full

    async def _commit(self, *, clean: bool) -> None:
        if self._full():
            raise sqlite3.OperationalError("database or disk is full")
        await super()._commit(clean=clean)


def _troubled(spec: DriverSpec, trouble: Trouble) -> DriverSpec:
    return replace(spec, factory=functools.partial(_make, spec.factory, trouble))


def _make(factory: Callable[[DriverContext], Driver], trouble: Trouble, context: DriverContext) -> Driver:
    return TroubledDriver(context, factory(context), trouble)
