"""The driver `gpio`: what is wired to the pins of a single-board computer."""

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from typing import Any, Self

from botyard_edge.blocking import OwnThread
from botyard_edge.driver import (
    Capabilities,
    Command,
    CommandRejectedError,
    ConfigurationError,
    Driver,
    DriverContext,
    Port,
    Progress,
)
from botyard_plugins.gpio.devices import Anything, Distance, Motor, Output, Switch, open_all
from botyard_plugins.gpio.options import channel, command

DISTANCE_RATE = 5.0  # Hz
TIMEOUT = 1.0  # s without a command after which a motor stops
MAX_CHANGES = 256  # that wait to be told; switches are also told periodically


class GpioDriver(Driver):
    """Tells each change of a switch at once, measures distances, and drives motors until an emergency stop."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._parts: Mapping[str, Mapping[str, Any]] = context.options["devices"]
        self._devices: dict[str, Anything] = {}
        self._motors: dict[str, Motor] = {}
        self._switches: dict[str, Switch] = {}
        self._due: dict[str, float] = {}
        self._changes: deque[tuple[int, str, bool]] = deque(maxlen=MAX_CHANGES)
        self._changed = asyncio.Event()
        self._moved = asyncio.Event()
        # Held while a motor is set, so that no command passes an emergency stop that comes at the same moment.
        self._lock = threading.Lock()
        self._stopped: set[str] = set()
        self._thread: OwnThread
        self._loop: asyncio.AbstractEventLoop

    async def __aenter__(self) -> Self:
        try:
            import gpiozero  # noqa: F401
        except ImportError as error:
            raise ConfigurationError(
                "the driver gpio needs the package gpiozero: pip install 'botyard[gpio]'"
            ) from error
        self._loop = asyncio.get_running_loop()
        self._devices = open_all(self._parts, self._on_change)
        self._motors = {name: device for name, device in self._devices.items() if isinstance(device, Motor)}
        self._switches = {name: device for name, device in self._devices.items() if isinstance(device, Switch)}
        for name, switch in self._switches.items():
            if switch.value:
                self._on_change(name, True)
        self._thread = await OwnThread(f"edge.gpio.{self.context.name}").__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._halt()
        try:
            await self._thread.__aexit__(*exc)  # waits for a measurement that is under way
        finally:
            for device in self._devices.values():
                device.close()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            tuple(channel(name, part) for name, part in self._parts.items()),
            tuple(spec for name, part in self._parts.items() if (spec := command(name, part)) is not None),
        )

    async def run(self, port: Port) -> None:
        prefix = f"edge.gpio.{self.context.name}"
        port.update_state(estop_inputs=self._stops())  # also that there are none any more
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_changes(port), name=f"{prefix}.changes")
            tasks.create_task(self._tell_all(port), name=f"{prefix}.all")
            if self._motors:
                tasks.create_task(self._watch_motors(port), name=f"{prefix}.motors")
            for name, device in self._devices.items():
                if isinstance(device, Distance):
                    tasks.create_task(self._measure(name, device, port), name=f"{prefix}.{name}")

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        del progress
        name, value = command.name, command.args["value"]
        device = self._devices[name]
        if isinstance(device, Output):
            device.set(value)
        elif isinstance(device, Motor):
            with self._lock:
                if self._stopped and value != 0:
                    raise CommandRejectedError(f"the emergency stop is pressed: {', '.join(sorted(self._stopped))}")
                device.set(value)
            self._due[name] = self.context.clock.monotonic() + self._parts[name].get("timeout", TIMEOUT)
            self._moved.set()
        return None

    async def stop(self) -> None:
        self._halt()

    def halt(self) -> None:
        # Without the lock, which the event loop may hold while it is blocked.
        self._halt()

    def _halt(self) -> None:
        for motor in self._motors.values():
            motor.set(0)

    def _stops(self) -> dict[str, bool]:
        return {name: switch.value for name, switch in self._switches.items() if switch.kind == "estop"}

    def _on_change(self, name: str, active: bool) -> None:
        """Called in a thread of gpiozero's: an emergency stop does not wait for the event loop."""
        if self._parts[name]["kind"] == "estop":
            with self._lock:
                if active:
                    self._stopped.add(name)
                    self._halt()
                else:
                    self._stopped.discard(name)
        self._changes.append((self.context.clock.now(), name, active))
        self._loop.call_soon_threadsafe(self._changed.set)

    async def _tell_changes(self, port: Port) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._changes:
                ts, name, active = self._changes.popleft()
                part = self._parts[name]
                await port.publish({channel(name, part).name: active}, ts=ts)
                if part["kind"] == "estop":
                    port.update_state(estop_inputs={name: active})
                    severity, words = ("critical", "pressed") if active else ("info", "released")
                    data = {"input": name, "active": active}
                    await port.event("estop.input", severity, f"emergency stop {name}: {words}", data=data, ts=ts)  # type: ignore[arg-type]
                elif part["kind"] == "bumper" and active:
                    await port.event("bumper.hit", "warning", f"bumper {name} was hit", data={"input": name}, ts=ts)

    async def _tell_all(self, port: Port) -> None:
        period = 1.0 / self.context.options["rate"]
        while True:
            values = {
                channel(name, self._parts[name]).name: device.value
                for name, device in self._devices.items()
                if not isinstance(device, Distance)
            }
            if values:
                await port.publish(values)
            await self.context.clock.sleep(period)

    async def _watch_motors(self, port: Port) -> None:
        """Stop each motor for which no command came in time: whoever drives it may be gone."""
        clock = self.context.clock
        while True:
            if not self._due:
                self._moved.clear()
                await self._moved.wait()
            await clock.sleep(max(0.001, min(self._due.values()) - clock.monotonic()))
            for name, due in list(self._due.items()):
                if clock.monotonic() >= due:
                    del self._due[name]
                    if self._motors[name].value != 0:
                        self._motors[name].set(0)
                        message = f"motor {name} was stopped, since no command came in time"
                        await port.event("motor.timeout", "warning", message, data={"motor": name})

    async def _measure(self, name: str, sensor: Distance, port: Port) -> None:
        period = 1.0 / self._parts[name].get("rate", DISTANCE_RATE)
        while True:
            distance = await self._thread.run(sensor.measure)
            await port.publish({name: distance})
            await self.context.clock.sleep(period)
