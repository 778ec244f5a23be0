"""The driver `i2c`: chips on one I²C bus, read each at its own rate."""

import asyncio
import errno
import logging
import os
from collections.abc import Callable
from typing import Any, Self, TypeVar

from botyard_edge.blocking import OwnThread
from botyard_edge.driver import (
    Capabilities,
    Command,
    CommandFailedError,
    CommandRejectedError,
    ConfigurationError,
    Driver,
    DriverContext,
    Port,
    Progress,
)
from botyard_plugins.i2c.chip import Bus, Chip, WrongChipError
from botyard_plugins.i2c.options import make

log = logging.getLogger(__name__)

T = TypeVar("T")

RATE = 1.0  # Hz, of a chip that has no rate of its own
# Seconds between two attempts to reach a chip that does not answer: doubling, since a bus in trouble is slow.
RETRY, RETRY_MAX = 1.0, 30.0
# The bus itself has gone, as that of a USB adapter does.
BUS_GONE = (errno.ENODEV, errno.EBADF)


class I2cDriver(Driver):
    """Reads its chips for as long as the robot runs. A chip that does not answer is said once, and tried again."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        self._number: int = context.options["bus"]
        self._chips = make(context.options)
        self._bus: Bus | None = None
        self._thread: OwnThread
        self._ready: set[str] = set()
        self._troubles: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            import smbus2  # noqa: F401
        except ImportError as error:
            raise ConfigurationError("the driver i2c needs the package smbus2: pip install 'botyard[i2c]'") from error
        self._thread = await OwnThread(f"edge.i2c.{self.context.name}").__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            await self._thread.run(self._close)
        finally:
            await self._thread.__aexit__(*exc)

    @property
    def capabilities(self) -> Capabilities:
        chips = self._chips.values()
        return Capabilities(
            tuple(channel for chip in chips for channel in chip.channels),
            tuple(command for chip in chips for command in chip.commands),
        )

    async def run(self, port: Port) -> None:
        async with asyncio.TaskGroup() as tasks:
            for chip in self._chips.values():
                tasks.create_task(self._watch(chip, port), name=f"edge.i2c.{self.context.name}.{chip.name}")

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        del progress
        chip = next(chip for chip in self._chips.values() if any(c.name == command.name for c in chip.commands))
        if chip.name not in self._ready:
            raise CommandRejectedError(f"{self._place(chip)} does not answer")
        try:
            await self._on_bus(lambda bus: chip.execute(bus, command))
        except OSError as error:
            raise CommandFailedError(f"{self._place(chip)}: {_reason(error)}") from error
        return None

    async def stop(self) -> None:
        for chip in self._chips.values():
            if chip.name in self._ready:
                try:
                    await self._on_bus(chip.rest)
                except OSError as error:
                    log.warning("%s could not be brought to rest: %s", self._place(chip), _reason(error))

    async def _watch(self, chip: Chip, port: Port) -> None:
        """One chip, for ever: set up, read at its rate, and set up again after it has not answered."""
        clock = self.context.clock
        period = 1.0 / self.context.options["devices"][chip.name].get("rate", RATE)
        pause = RETRY
        while True:
            try:
                await self._on_bus(chip.begin)
                self._ready.add(chip.name)
                due = clock.monotonic()
                while True:
                    values = await self._on_bus(chip.read)
                    await self._note_well(chip, port)
                    pause = RETRY
                    if values:
                        await port.publish(values)
                    # In step with the clock; what was late is left out and not caught up.
                    due = max(due + period, clock.monotonic())
                    await clock.sleep(due - clock.monotonic())
            except (OSError, WrongChipError) as error:
                self._ready.discard(chip.name)
                await self._note_trouble(chip, port, error)
                await clock.sleep(pause)
                pause = min(2.0 * pause, RETRY_MAX)

    async def _on_bus(self, work: Callable[[Bus], T]) -> T:
        """The result of the work, which has the bus for itself. Raises OSError."""

        def there() -> T:
            if self._bus is None:
                self._bus = open_bus(self._number)
            try:
                return work(self._bus)
            except OSError as error:
                if error.errno in BUS_GONE:
                    self._close()
                raise

        return await self._thread.run(there)

    def _close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()

    def _place(self, chip: Chip) -> str:
        return f"I²C bus {self._number}, address {chip.address:#04x}: {chip.TITLE} ({chip.name})"

    async def _note_trouble(self, chip: Chip, port: Port, error: Exception) -> None:
        reason = str(error) if isinstance(error, WrongChipError) else _reason(error)
        if chip.name in self._troubles:
            return
        sentence = f"{self._place(chip)} does not answer: {reason}; it is tried again"
        self._troubles[chip.name] = sentence
        log.warning("%s", sentence)
        port.update_state(health="warning", health_reasons=list(self._troubles.values()))
        await port.event("i2c.missing", "warning", sentence, data=self._data(chip))

    async def _note_well(self, chip: Chip, port: Port) -> None:
        if self._troubles.pop(chip.name, None) is None:
            return
        sentence = f"{self._place(chip)} answers"
        log.info("%s", sentence)
        port.update_state(health="warning" if self._troubles else "ok", health_reasons=list(self._troubles.values()))
        await port.event("i2c.found", "info", sentence, data=self._data(chip))

    def _data(self, chip: Chip) -> dict[str, Any]:
        return {"bus": self._number, "address": chip.address, "chip": chip.TITLE, "name": chip.name}


def open_bus(number: int) -> Bus:
    """The bus. Raises OSError."""
    import smbus2

    bus: Bus = smbus2.SMBus(number)
    return bus


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return "there is no such bus; is I²C switched on (raspi-config)?"
    if number == errno.EACCES:
        return "permission denied; is the user in the group i2c?"
    if number in (errno.EREMOTEIO, errno.ENXIO):
        return "nothing is there; is it wired and powered?"
    return os.strerror(number) if number else str(error) or type(error).__name__
