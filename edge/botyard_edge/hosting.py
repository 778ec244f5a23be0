"""Drivers at work: each gets a port to the rest of the robot, and is stopped and flushed when the robot ends."""

import asyncio
import logging
import random
from collections.abc import Callable

from botyard_edge.bus import Bus
from botyard_edge.calibration import CalibrationNode
from botyard_edge.commands import CommandDesk
from botyard_edge.config import Config, DriverSettings
from botyard_edge.driver import Capabilities, ConfigurationError, Driver, DriverContext
from botyard_edge.hubtime import HubClock
from botyard_edge.node import Work
from botyard_edge.outbox import Outbox
from botyard_edge.port import RuntimePort
from botyard_edge.pulse import Pulse
from botyard_edge.recording import Opened
from botyard_edge.safety import SafetyNode
from botyard_edge.state import StateKeeper
from botyard_edge.stopping import Stopper, halt
from botyard_edge.telemetry import TelemetryWriter

log = logging.getLogger(__name__)


class DriverHost:
    """Knows the drivers that run now. `work` gives what a node runs."""

    def __init__(
        self,
        config: Config,
        outbox: Outbox,
        state: StateKeeper,
        desk: CommandDesk,
        bus: Bus,
        *,
        clock: HubClock,
        safety: SafetyNode,
        calibration: CalibrationNode,
    ) -> None:
        self._config = config
        self._outbox = outbox
        self._state = state
        self._desk = desk
        self._bus = bus
        self._clock = clock
        self._safety = safety
        self._calibration = calibration
        self._drivers: dict[str, Driver] = {}
        # Those that do not end, and may still move what they drive.
        self._abandoned: list[tuple[str, Driver]] = []
        self._stopper = Stopper(clock)
        self._writers: dict[str, TelemetryWriter] = {}
        self._ports: dict[str, RuntimePort] = {}
        self._owners: dict[str, str] = {}

    def work(self, settings: DriverSettings, rng: random.Random, pulse: Pulse) -> Work:
        """Make the driver and let it run until it ends. A restart goes on with the same stream of `rng`."""

        async def work(ready: Callable[[], None]) -> None:
            context = DriverContext(
                self._config.robot, settings.name, settings.options, self._config.folder, self._clock, rng
            )
            made = settings.spec.factory(context)
            try:
                async with made as driver:
                    await self._drive(settings.name, driver, ready, pulse)
            finally:
                self._gone(made)

        return work

    def halt(self, name: str) -> None:
        """The driver hangs: nobody is in control of what it moves."""
        if (driver := self._drivers.get(name)) is not None:
            halt(name, driver)

    def abandon(self, name: str) -> None:
        """The driver does not end although it was told to: nothing of it counts any more, so that another may begin. It
        may still move the robot, so it is halted with the others until it has ended."""
        if (port := self._ports.pop(name, None)) is not None:
            port.close()
        if (driver := self._drivers.pop(name, None)) is not None:
            self._abandoned.append((name, driver))
            self._desk.withdraw(driver)
            self._calibration.closed(name, driver)

    async def stop(self) -> bool:
        """Bring the robot to rest: all of it at once and within a bounded time, since one that hangs must not keep the
        others in motion. Whether all drivers say that they are at rest."""
        for name, driver in self._abandoned:
            halt(name, driver)
        async with asyncio.TaskGroup() as tasks:
            stops = [
                tasks.create_task(self._stopper.stop(name, driver), name=f"edge.driver.{name}.rest")
                for name, driver in self._drivers.items()
            ]
        return all(stop.result() for stop in stops) and not self._abandoned

    async def _admit(self, name: str, driver: Driver) -> None:
        """From now on the safety node can halt the driver; in a mode in which nothing may move, it begins at rest."""
        self._safety.enter(name, driver)
        if self._safety.mode in ("safe", "estop"):
            halt(name, driver)
            await self._stopper.stop(name, driver)

    def _gone(self, driver: Driver) -> None:
        self._safety.leave(driver)
        self._abandoned = [one for one in self._abandoned if one[1] is not driver]

    async def flush(self, *, wait: bool = True) -> None:
        """Take all samples to the outbox. Lossless drivers' wait there for room, unless not to `wait` is said."""
        for writer in self._writers.values():
            await writer.flush(wait=wait)

    def cut(self) -> None:
        """The clock is about to learn the time; see `TelemetryWriter.cut`."""
        for writer in self._writers.values():
            writer.cut()

    def _claim(self, name: str, capabilities: Capabilities) -> None:
        """The driver's channels are its own for as long as the robot runs, also while it is being restarted."""
        for channel in capabilities.channels:
            if (owner := self._owners.get(channel.name, name)) != name:
                raise ConfigurationError(
                    f"channel {channel.name!r} is published by the driver {owner} already; give one another name"
                )
        self._owners.update({channel.name: name for channel in capabilities.channels})

    async def _drive(self, name: str, driver: Driver, ready: Callable[[], None], pulse: Pulse) -> None:
        capabilities = driver.capabilities
        lossless = capabilities.lossless
        self._claim(name, capabilities)
        watched = self._safety.factors(capabilities.channels)
        self._safety.offered(name, capabilities.commands)
        writer = TelemetryWriter(
            capabilities.channels,
            self._outbox,
            clock=self._clock,
            limits=self._config.telemetry,
            lossless=lossless,
            stamp=self._clock.stamp,
        )
        try:
            self._desk.offer(driver, capabilities.commands)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error
        if (earlier := self._writers.get(name)) is not None:
            await earlier.flush()  # it may have been abandoned with samples in it
        self._state.about(capabilities.about)
        self._drivers[name], self._writers[name] = driver, writer
        flusher = asyncio.create_task(writer.run(), name=f"edge.driver.{name}.telemetry")
        try:
            port = self._ports[name] = RuntimePort(
                name,
                writer,
                self._outbox,
                self._state,
                self._bus,
                clock=self._clock,
                lossless=lossless,
                pulse=pulse,
                safety=self._safety,
                calibration=self._calibration,
                watched=watched,
            )
            self._calibration.opened(name, driver, capabilities, writer.declare)
            await self._admit(name, driver)
            pulse.beat()
            self._bus.publish(f"drivers/{name}/opened", Opened(capabilities.channels, lossless, capabilities.about))
            ready()
            await driver.run(port)
        except Exception:
            await writer.flush()  # what was measured before the failure counts
            raise
        except asyncio.CancelledError:
            if not lossless:  # which might wait for room in the outbox
                await writer.flush()
            raise
        finally:
            self._desk.withdraw(driver)
            self._calibration.closed(name, driver)
            if self._drivers.get(name) is driver:  # and not another one, after this one was abandoned
                del self._drivers[name]
            flusher.cancel()
            await asyncio.gather(flusher, return_exceptions=True)
        await writer.flush()
