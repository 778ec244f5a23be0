"""Simulated robots: real edge runtimes with the `sim` driver, several in one process."""

import asyncio
import random
from pathlib import Path
from typing import Any, Self

from botyard.core.tasks import Tasks
from botyard_edge.config import Config, DriverSettings, TransportSettings
from botyard_edge.mqtt import MqttTransport
from botyard_edge.plugins import build_plugin_manager, drivers
from botyard_edge.runtime import Runtime
from botyard_schemas.clock import SystemClock
from botyard_schemas.messages import About
from botyard_schemas.settings import fill_defaults, load

PLAN = Path(__file__).with_name("warehouse.yaml")
# Where the warehouse stands, so that the robots are on the map of the Earth, too: WGS 84 degrees.
ORIGIN = {"lat": 47.5596, "lon": 7.5886}
NAMES = ("Ada", "Bruno", "Chandra", "Dai", "Esra", "Fatou", "Goran", "Hana", "Ivo", "Jun")


class SimulatedFleet:
    """`count` robots that drive around the warehouse while the `async with` lasts. `url` is the broker's."""

    def __init__(self, url: str, count: int, seed: int) -> None:
        self._url = url
        self._count = count
        self._seed = seed
        self._runtimes: list[Runtime] = []
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        spec = drivers(build_plugin_manager())["sim"]
        stations = await asyncio.to_thread(_stations)
        rng = random.Random(self._seed)
        rng.shuffle(stations)
        await self._tasks.__aenter__()
        for number in range(self._count):
            options: dict[str, Any] = {
                "plan": str(PLAN),
                "start": stations[number % len(stations)],
                "seed": self._seed * 1000 + number,
                "geo": ORIGIN,
            }
            fill_defaults(options, spec.options)
            runtime = self._runtime(number, DriverSettings("sim", spec, options))
            self._runtimes.append(runtime)
            self._tasks.start(_run(runtime), f"simulation.{runtime.config.robot}")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        for runtime in self._runtimes:
            runtime.stop()
        await self._tasks.__aexit__(*exc)

    def _runtime(self, number: int, driver: DriverSettings) -> Runtime:
        robot = f"picker-{number + 1}"
        name = NAMES[number % len(NAMES)] + (f" {number // len(NAMES) + 1}" if number >= len(NAMES) else "")
        config = Config(
            robot=robot,
            drivers=(driver,),
            about=About(name=name),
            folder=PLAN.parent,
            transports=(TransportSettings(self._url),),
        )
        transport = MqttTransport(robot, self._url)
        return Runtime(config, clock=SystemClock(), rng=random.Random(self._seed + number), transport=transport)


async def _run(runtime: Runtime) -> None:
    await runtime.run()


def _stations() -> list[str]:
    plan = load(PLAN, {}, environ={})
    return [station["name"] for station in plan["stations"] if station["kind"] == "waypoint"]
