"""The driver `serial`: a device on a serial port that speaks in lines."""

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any, Self

from botyard_edge.blocking import OwnThread
from botyard_edge.driver import (
    About,
    Capabilities,
    Command,
    CommandFailedError,
    CommandRejectedError,
    CommandSpec,
    Driver,
    DriverContext,
    Motion,
    Port,
    Progress,
)
from botyard_plugins.serial.device import Device, GoneError, require_library
from botyard_plugins.serial.lines import Decoder, LineDecoder, Splitter, UnusableError
from botyard_plugins.serial.nmea import NmeaDecoder
from botyard_plugins.serial.noise import Noise
from botyard_plugins.serial.options import PLACEHOLDER

log = logging.getLogger(__name__)

# Seconds between two attempts to open a device that is not there. After one that went within STEADY seconds the pause
# doubles, so that a loose contact does not flood the hub with events.
RETRY, RETRY_MAX, STEADY = 1.0, 30.0, 10.0


class SerialDriver(Driver):
    """Publishes what the lines say, for as long as the robot runs; a device that goes is waited for."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        options = context.options
        self._path: str = str(context.folder / options["port"])
        self._decoder: Decoder = (
            NmeaDecoder(options["prefix"], options["geo"])
            if options["protocol"] == "nmea"
            else LineDecoder(options["lines"])
        )
        # The line that is heard first may be the end of one. A checksum tells, a number that lost its front does not.
        self._skips = options["protocol"] == "lines"
        self._ignore = re.compile(options["ignore"]) if options["ignore"] else None
        self._device: Device | None = None

    async def __aenter__(self) -> Self:
        require_library()
        return self

    @property
    def capabilities(self) -> Capabilities:
        commands = tuple(_command(name, spec) for name, spec in self.context.options["commands"].items())
        return Capabilities(tuple(self._decoder.channels), commands, about=About())

    async def run(self, port: Port) -> None:
        noise = Noise(self.context.clock)
        async with OwnThread(f"edge.serial.{self.context.name}") as thread, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tell_of_noise(port, noise), name=f"edge.serial.{self.context.name}.noise")
            missing, pause = False, RETRY
            while True:
                opened = None
                device = Device(self._path, self.context.options["baud"], thread)
                try:
                    async with device:
                        opened = self.context.clock.monotonic()
                        self._device = device
                        if missing:
                            await self._note_found(port)
                        missing = False
                        await self._listen(device, port, noise)
                except GoneError as error:
                    if not missing:
                        await self._note_missing(port, str(error))
                    missing = True
                finally:
                    self._device = None
                if opened is not None:
                    lasted = self.context.clock.monotonic() - opened
                    pause = RETRY if lasted > STEADY else min(2 * pause, RETRY_MAX)
                await self.context.clock.sleep(pause)

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        del progress
        text = _filled(self.context.options["commands"][command.name]["write"], command.args)
        device = self._device
        if device is None:
            raise CommandRejectedError(f"{self._path} is not connected")
        try:
            await device.write(self._line(text))
        except GoneError as error:
            raise CommandFailedError(f"{self._path}: the line could not be written: {error}") from error
        return None

    async def stop(self) -> None:
        text, device = self.context.options["on_stop"], self._device
        if text is None or device is None:
            return
        try:
            await device.write(self._line(text))
        except GoneError as error:
            log.warning("%s: the line for a stop could not be written: %s", self._path, error)

    def _line(self, text: str) -> bytes:
        end: str = self.context.options["line_end"]
        return (text + end).encode()

    async def _listen(self, device: Device, port: Port, noise: Noise) -> None:
        lines = Splitter()
        if self._skips:
            lines.skip()
        while True:
            for line in lines.feed(await device.read()):
                if line is None:
                    noise.unusable("too long", b"")
                    continue
                try:
                    await self._take(line, port)
                    noise.used()
                except UnusableError as error:
                    noise.unusable(error.kind, line)

    async def _take(self, line: bytes, port: Port) -> None:
        try:
            text = line.decode().strip()
        except UnicodeDecodeError as error:
            raise UnusableError("not text") from error
        if not text.replace("\t", " ").isprintable():
            raise UnusableError("not text")
        if self._ignore is not None and self._ignore.search(text):
            return
        reading = self._decoder.decode(text, self.context.clock.monotonic())
        if reading is not None:
            await port.publish(reading.values)
            if reading.state is not None:
                port.update_state(**reading.state)

    async def _tell_of_noise(self, port: Port, noise: Noise) -> None:
        while True:
            sentence, counts = await noise.next()
            log.warning("%s: %s", self._path, sentence)
            await port.event("serial.noise", "warning", f"{self._path}: {sentence}", data={"lines": counts})

    async def _note_missing(self, port: Port, reason: str) -> None:
        sentence = f"{self._path}: no serial device: {reason}; it is waited for"
        log.warning("%s", sentence)
        port.update_state(health="warning", health_reasons=[sentence])
        await port.event("serial.missing", "warning", sentence, data={"port": self._path})

    async def _note_found(self, port: Port) -> None:
        sentence = f"{self._path}: the serial device is there"
        log.info("%s", sentence)
        port.update_state(health="ok", health_reasons=[])
        await port.event("serial.found", "info", sentence, data={"port": self._path})


def _command(name: str, given: Mapping[str, Any]) -> CommandSpec:
    args = given.get("args", {})
    schema = {"type": "object", "additionalProperties": False, "required": sorted(args), "properties": args}
    motion = given.get("motion")
    return CommandSpec(name, given.get("description", ""), schema, None if motion is None else _motion(motion))


def _motion(given: Mapping[str, Any]) -> Motion:
    goal = given.get("goal")
    return Motion(
        given["kind"],
        linear=tuple(given.get("linear", ())),
        angular=tuple(given.get("angular", ())),
        other=tuple(given.get("other", ())),
        goal=None if goal is None else (goal[0], goal[1]),
        frame=given.get("frame"),
        straight=given.get("straight", False),
        lasting=given.get("lasting", False),
        ends=given.get("ends"),
    )


def _filled(template: str, args: Mapping[str, Any]) -> str:
    """The line with the arguments in their places. Raises CommandRejectedError."""

    def text(match: "re.Match[str]") -> str:
        value = args[match[1]]
        word = str(int(value)) if isinstance(value, bool) else str(value)
        if not word.isprintable():  # a line break in it would be a second line, and another command
            raise CommandRejectedError(f"args.{match[1]}: {word!r} holds a control character")
        return word

    return PLACEHOLDER.sub(text, template)
