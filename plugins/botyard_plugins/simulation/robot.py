"""A simulated robot: the edge runtime that real robots run, with all that can go wrong with it."""

import asyncio
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from botyard_edge.config import Config, DriverSettings, OutboxSettings
from botyard_edge.driver import Driver, DriverContext, DriverSpec
from botyard_edge.runtime import Runtime
from botyard_edge.writing import Durability
from botyard_plugins.simulation.network import Network
from botyard_plugins.simulation.trouble import RobotClock, Trouble, TroubledDriver
from botyard_schemas.clock import Clock


class SimulatedRobot:
    """Runs while its `async with` lasts. With `disk` it keeps its outbox in the folder, and can be restarted.

    `settings` are what it has in common with others; `flush_timeout` is what a halt gives it to send what is left.
    """

    def __init__(
        self,
        name: str,
        drivers: Sequence[DriverSettings],
        network: Network,
        clock: Clock,
        rng: random.Random,
        *,
        folder: Path,
        disk: bool,
        flush_timeout: float,
        settings: Config | None = None,
    ) -> None:
        self.name = name
        self.clock = RobotClock(clock)
        self.trouble = Trouble(clock, random.Random(rng.getrandbits(64)))
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
        self._runtime = Runtime(self._config, clock=self.clock, rng=rng, transport=transport, boot=boot)
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
        try:
            await runtime.run()
        finally:
            self.heads[runtime.outbox.epoch] = runtime.outbox.head


def _troubled(spec: DriverSpec, trouble: Trouble) -> DriverSpec:
    return replace(spec, factory=functools.partial(_make, spec.factory, trouble))


def _make(factory: Callable[[DriverContext], Driver], trouble: Trouble, context: DriverContext) -> Driver:
    return TroubledDriver(context, factory(context), trouble)
