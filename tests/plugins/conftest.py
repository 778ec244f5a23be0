"""Drivers for the plugins' tests: alone with a port that notes, or in a whole robot on virtual time."""

import asyncio
import os
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from botyard_edge.config import Config, DriverSettings, schema_with_options
from botyard_edge.driver import Driver, DriverContext, DriverSpec
from botyard_edge.plugins import build_plugin_manager, drivers
from botyard_edge.runtime import Runtime
from botyard_edge.testing import HubModel, MemoryBroker, VirtualClock
from botyard_schemas import settings

ROOT = Path(__file__).parents[2]


class Notes:
    """A port that notes everything."""

    def __init__(self, clock: VirtualClock) -> None:
        self.samples: dict[str, list[tuple[int, Any]]] = {}
        self.states: list[dict[str, Any]] = []
        self.events: list[tuple[str, str, str | None, int | None, dict[str, Any] | None]] = []
        self._clock = clock

    async def publish(self, values: Mapping[str, Any], *, ts: int | None = None) -> None:
        for name, value in values.items():
            self.samples.setdefault(name, []).append((self._clock.now() if ts is None else ts, value))

    async def publish_columns(self, ts: Any, columns: Mapping[str, Any]) -> None:
        for name, column in columns.items():
            self.samples.setdefault(name, []).extend(zip(ts, column, strict=True))

    async def event(self, name: str, severity: Any = "info", message: str | None = None, **rest: Any) -> None:
        self.events.append((name, severity, message, rest.get("ts"), rest.get("data")))

    async def flush(self) -> None: ...

    def update_state(self, **changes: Any) -> None:
        self.states.append(changes)

    def alive(self) -> None: ...

    def state(self, key: str) -> list[Any]:
        return [state[key] for state in self.states if key in state]


def spec(name: str) -> DriverSpec:
    return drivers(build_plugin_manager())[name]


def options(name: str, **given: Any) -> dict[str, Any]:
    """Options as the runtime gives them: checked, and with defaults."""
    known = {name: spec(name)}
    whole: dict[str, Any] = {"robot": "r1", "drivers": {name: {"options": given}}}
    schema = schema_with_options(whole["drivers"], known)
    assert not list(settings.check(whole, schema))
    settings.fill_defaults(whole, schema)
    filled: dict[str, Any] = whole["drivers"][name]["options"]
    return filled


@pytest.fixture
def make_driver(tmp_path: Path) -> Callable[..., Driver]:
    """A driver by name with options, relative to the test's folder."""

    def make(name: str, clock: VirtualClock, rng: int = 1, **given: Any) -> Driver:
        context = DriverContext("r1", name, options(name, **given), tmp_path, clock, random.Random(rng))
        return spec(name).factory(context)

    return make


class Robot:
    """A whole robot with one driver, on virtual time, with a hub that keeps account."""

    def __init__(self, folder: Path, driver: str, given: dict[str, Any], **config: Any) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker()
        self.hub = HubModel(self.broker, clock=self.clock)
        part = DriverSettings(driver, spec(driver), options(driver, **given))
        self.runtime = Runtime(
            Config("r1", (part,), folder=folder, **config),
            clock=self.clock,
            rng=random.Random(1),
            transport=self.broker.transport("r1"),
        )

    async def run(self, limit: float = 3600.0) -> int:
        """Let time pass until the robot ends by itself; its exit code."""
        task = asyncio.create_task(self.runtime.run())
        async with asyncio.timeout(60):
            while not task.done():
                assert self.clock.monotonic() < limit, "the robot does not end"
                await self.clock.advance(0.05)
                # Files are read in a thread, which virtual time knows nothing about.
                await asyncio.sleep(0.0005)
        return task.result()


@pytest.fixture
def modelled(tmp_path: Path) -> Callable[..., Robot]:
    """A robot whose hub is a model, for what the fixture `robot` does not have: odd settings, an end by itself."""

    def make(driver: str, given: dict[str, Any], **config: Any) -> Robot:
        return Robot(tmp_path, driver, given, **config)

    return make


@pytest.fixture(scope="session")
def px4_log() -> Path:
    """A real flight log. It must be there when CI is set."""
    path = Path(os.environ.get("BOTYARD_SHARED", ROOT.parent / "shared")) / "data" / "px4_mission.ulg"
    if not path.is_file():
        why = f"there is no recording {path}; set BOTYARD_SHARED to the folder that holds data/px4_mission.ulg"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    return path
