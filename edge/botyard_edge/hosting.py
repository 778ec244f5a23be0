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
        self._writers: dict[str, TelemetryWriter] = {}
        self._ports: dict[str, RuntimePort] = {}
        self._owners: dict[str, str] = {}

    def work(self, settings: DriverSettings, rng: random.Random, pulse: Pulse) -> Work:
        """Make the driver and let it run until it ends. A restart goes on with the same stream of `rng`."""

        async def work(ready: Callable[[], None]) -> None:
            context = DriverContext(
                self._config.robot, settings.name, settings.options, self._config.folder, self._clock, rng
            )
            async with settings.spec.factory(context) as driver:
                await self._drive(settings.name, driver, ready, pulse)

        return work

    def halt(self, name: str) -> None:
        """The driver hangs: nobody is in control of what it moves."""
        if (driver := self._drivers.get(name)) is not None:
            try:
                driver.halt()
            except Exception:
                log.exception("driver %s did not halt", name)

    def abandon(self, name: str) -> None:
        """The driver does not end although it was told to: nothing of it counts any more, so that another may begin."""
        if (port := self._ports.pop(name, None)) is not None:
            port.close()
        if (driver := self._drivers.pop(name, None)) is not None:
            self._desk.withdraw(driver)
            self._safety.leave(name)
            self._calibration.closed(name, driver)

    async def stop(self) -> None:
        """Bring the robot to rest: all of it at once, since one that hangs must not keep the others in motion."""
        async with asyncio.TaskGroup() as tasks:
            for name, driver in self._drivers.items():
                tasks.create_task(_stopped(name, driver), name=f"edge.driver.{name}.stop")

    async def _admit(self, name: str, driver: Driver) -> None:
        """From now on the safety node can halt the driver; in a mode in which nothing may move, it begins at rest."""
        self._safety.enter(name, driver)
        if self._safety.mode in ("safe", "estop"):
            driver.halt()
            await _stopped(name, driver)

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
                self._safety.leave(name)
            flusher.cancel()
            await asyncio.gather(flusher, return_exceptions=True)
        await writer.flush()


async def _stopped(name: str, driver: Driver) -> None:
    try:
        await driver.stop()
    except Exception:
        log.exception("driver %s did not stop", name)
