"""The serial port itself: opened and written in a thread, read when there is something to read."""

import asyncio
import errno
import os
import termios
from typing import TYPE_CHECKING, Self

from botyard_edge import serialport
from botyard_edge.blocking import Elsewhere
from botyard_edge.driver import ConfigurationError

if TYPE_CHECKING:
    from serial import Serial

WRITE_TIMEOUT = 1.0  # s
CHUNK = 4096


class GoneError(Exception):
    """The device is not there, or not any more; says why."""


def require_library() -> None:
    """Raises ConfigurationError when pyserial is missing."""
    try:
        import serial  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            "the driver serial needs the package pyserial: pip install 'botyard[serial]'"
        ) from error


class Device:
    """An open port. Open while its `async with` lasts; entering and reading raise GoneError."""

    def __init__(self, path: str, baud: int, thread: Elsewhere) -> None:
        self._path = path
        self._baud = baud
        self._thread = thread
        self._serial: Serial
        self._fd = -1

    async def __aenter__(self) -> Self:
        import serial

        port = self._serial = serial.Serial(baudrate=self._baud, timeout=0, write_timeout=WRITE_TIMEOUT, exclusive=True)
        port.port = self._path
        try:
            await self._thread.run(port.open)
        except (OSError, ValueError, termios.error) as error:
            raise GoneError(_reason(error)) from error
        except asyncio.CancelledError:
            await self._close()  # the thread opens it all the same
            raise
        self._fd = port.fileno()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._close()

    async def read(self) -> bytes:
        """What the device says next, at least one byte."""
        try:
            data = await serialport.read(self._fd, CHUNK)
        except OSError as error:
            raise GoneError(_reason(error)) from error
        if not data:  # readable without anything to read
            raise GoneError("it was unplugged")
        return data

    async def write(self, data: bytes) -> None:
        """Write, within a second. Raises GoneError."""
        try:
            await self._thread.run(lambda: self._serial.write(data))
        except OSError as error:
            raise GoneError(_reason(error)) from error

    async def _close(self) -> None:
        await self._thread.run(lambda: serialport.close(self._serial))


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return "another program has it open"
    if number is not None:
        reason = os.strerror(number)
        return f"{reason}; is the user in the group dialout?" if number == errno.EACCES else reason
    return str(error) or type(error).__name__
