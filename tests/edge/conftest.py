"""Robots for the edge's tests: on virtual time with a broker in memory, and a real broker where it matters."""

import asyncio
import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from botyard_edge.config import Config, DriverSettings
from botyard_edge.driver import Capabilities, Channel, Driver, DriverContext, DriverSpec, Port
from botyard_edge.outbox import Outbox
from botyard_edge.runtime import Runtime
from botyard_edge.testing import HubModel, MemoryBroker, VirtualClock
from tests.processes import Running, free_port, wait_until


class World:
    """A virtual clock, a broker in memory and a hub that keeps account."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker()
        self.hub = HubModel(self.broker, clock=self.clock)

    def runtime(self, config: Config, seed: int = 1, outbox: Outbox | None = None) -> Runtime:
        transport = self.broker.transport(config.robot)
        return Runtime(config, clock=self.clock, rng=random.Random(seed), transport=transport, outbox=outbox)

    @asynccontextmanager
    async def running(self, config: Config, outbox: Outbox | None = None) -> AsyncIterator[Runtime]:
        """The runtime while it runs; its end happens on virtual time, too."""
        runtime = self.runtime(config, outbox=outbox)
        task = asyncio.create_task(runtime.run())
        await self.clock.advance(0.1)
        try:
            yield runtime
        finally:
            runtime.stop()
            await self.finish(task)

    async def finish(self, task: "asyncio.Task[Any]", limit: float = 60.0) -> Any:
        """Let time pass until the task has ended."""
        await self.clock.advance_until(task.done, limit=limit)
        return task.result()


@pytest.fixture
def world() -> World:
    return World()


def kill_without_warning(path: Path, folder: Path) -> None:
    """Copy a database that is in use to `folder`, as a power cut at this moment would leave it."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            shutil.copy(part, folder / part.name)


Run = Callable[["Script", Port], Any]


class Script(Driver):
    """A driver whose `run` is a function of the test's."""

    def __init__(
        self, context: DriverContext, run: Callable[["Script", Port], Any], capabilities: Capabilities
    ) -> None:
        super().__init__(context)
        self.capabilities_ = capabilities
        self._run = run

    @property
    def capabilities(self) -> Capabilities:
        return self.capabilities_

    async def run(self, port: Port) -> None:
        await self._run(self, port)


@pytest.fixture
def scripted() -> Callable[..., Config]:
    """Settings of a robot `r1` whose driver runs a function of the test's."""

    def make(
        run: Run,
        *,
        capabilities: Capabilities | None = None,
        driver: type[Script] = Script,
        **settings: Any,
    ) -> Config:
        known = capabilities or Capabilities((Channel("a"), Channel("b"), Channel("t", "text")))
        spec = DriverSpec("script", "", lambda context: driver(context, run, known), {})
        return Config("r1", (DriverSettings("base", spec, {}),), **settings)

    return make


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[str]:
    """The URL of a real Mosquitto that ends with the test."""
    binary = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if binary is None:
        assert not os.environ.get("CI"), "Mosquitto is not installed, and with CI set every test must run"
        pytest.skip("Mosquitto is not installed")
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    broker = Running([binary, "-v", "-c", str(config)], tmp_path, "mosquitto")
    wait_until(lambda: "running" in broker.output(), "Mosquitto runs", 10)
    yield f"mqtt://127.0.0.1:{port}"
    broker.stop()
