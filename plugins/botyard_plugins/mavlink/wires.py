"""What carries MAVLink: UDP, TCP or a serial port. Reading waits for what comes; writing never waits.

Frames that cannot be written at once are lost, as MAVLink expects of its carriers; of a stream no frame is torn.
Writing is also done from other threads, when the event loop is blocked and the vehicle has to be told to hold.
"""

import asyncio
import errno
import os
import socket
import termios
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Self

from botyard_edge import serialport
from botyard_plugins.mavlink.address import Address

CHUNK = 65536
CONNECT_WITHIN = 5.0  # s
# A serial port's own buffer is full for longer than a message lasts only when nobody takes anything.
LOST = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)


class GoneError(Exception):
    """The connection cannot be made, or has ended; says why."""


class Wire(ABC):
    """Open while its `async with` lasts; entering, reading and writing raise GoneError."""

    # Whether it has to be made anew when the vehicle falls silent. A datagram socket hears a vehicle that comes back.
    reopens = True

    def __init__(self, address: Address) -> None:
        self.address = address

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc: object) -> None: ...

    @abstractmethod
    async def read(self) -> tuple[bytes, Any]:
        """What comes next, and from whom: what comes from two senders is not one stream."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send a frame, in any thread, or lose it."""

    def answer(self, sender: Any) -> None:
        """The vehicle is there: from now on, write to it."""
        del sender


class UdpWire(Wire):
    """Waits for datagrams, or sends them to a host first; answers to wherever the vehicle sends from."""

    reopens = False

    async def __aenter__(self) -> Self:
        kind, host, port = self.address
        family, address = await _resolved(host, port, socket.SOCK_DGRAM)
        self._peer: Any = None if kind == "udp" else address
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            if kind == "udp":
                self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise GoneError(f"{_reason(error)}; does another program wait there?") from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._socket.close()

    async def read(self) -> tuple[bytes, Any]:
        try:
            return await asyncio.get_running_loop().sock_recvfrom(self._socket, CHUNK)
        except OSError as error:
            raise GoneError(_reason(error)) from error

    def write(self, data: bytes) -> None:
        if self._peer is None:
            return
        try:
            self._socket.sendto(data, self._peer)
        except OSError as error:
            if error.errno not in (*LOST, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED):
                raise GoneError(_reason(error)) from error

    def answer(self, sender: Any) -> None:
        self._peer = sender


class StreamWire(Wire):
    """A stream of bytes: what is left of a frame that was written in part goes before the next one."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._left = b""
        self._lock = threading.Lock()

    @abstractmethod
    def _send(self, data: bytes) -> int:
        """Write as much as is possible at once; how much it was. Raises OSError."""

    def write(self, data: bytes) -> None:
        # A thread that waits here waits for a system call that does not block.
        with self._lock:
            try:
                while self._left:
                    self._left = self._left[self._send(self._left) :]
                self._left = data[self._send(data) :]
            except OSError as error:
                if error.errno not in LOST:
                    raise GoneError(_reason(error)) from error


class TcpWire(StreamWire):
    """A connection to a simulator, a companion computer or a router."""

    async def __aenter__(self) -> Self:
        family, address = await _resolved(self.address.host, self.address.port, socket.SOCK_STREAM)
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setblocking(False)
        try:
            async with asyncio.timeout(CONNECT_WITHIN):
                await asyncio.get_running_loop().sock_connect(self._socket, address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException as error:
            self._socket.close()
            if isinstance(error, OSError):
                raise GoneError(_reason(error)) from error
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._socket.close()

    async def read(self) -> tuple[bytes, Any]:
        try:
            data = await asyncio.get_running_loop().sock_recv(self._socket, CHUNK)
        except OSError as error:
            raise GoneError(_reason(error)) from error
        if not data:
            raise GoneError("the other side closed the connection")
        return data, None

    def _send(self, data: bytes) -> int:
        return self._socket.send(data)


class SerialWire(StreamWire):
    """A telemetry radio or a USB cable."""

    async def __aenter__(self) -> Self:
        import serial

        self._serial = serial.Serial(baudrate=self.address.port, timeout=0, write_timeout=0, exclusive=True)
        self._serial.port = self.address.host
        try:
            await asyncio.to_thread(self._serial.open)
        except (OSError, ValueError, termios.error) as error:
            raise GoneError(_reason(error)) from error
        except asyncio.CancelledError:
            await self.__aexit__()  # the thread opens it all the same
            raise
        self._fd = self._serial.fileno()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(serialport.close, self._serial)

    async def read(self) -> tuple[bytes, Any]:
        try:
            data = await serialport.read(self._fd, CHUNK)
        except OSError as error:
            raise GoneError(_reason(error)) from error
        if not data:  # readable without anything to read
            raise GoneError("it was unplugged")
        return data, None

    def _send(self, data: bytes) -> int:
        return os.write(self._fd, data)


KINDS: dict[str, Callable[[Address], Wire]] = {
    "udp": UdpWire,
    "udpout": UdpWire,
    "tcp": TcpWire,
    "serial": SerialWire,
}


def make_wire(address: Address) -> Wire:
    """What carries MAVLink to this address."""
    return KINDS[address.kind](address)


async def _resolved(host: str, port: int, kind: int) -> tuple[int, Any]:
    """Family and address. Raises GoneError."""
    try:
        try:
            found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_NUMERICHOST)  # asks nobody
        except socket.gaierror:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=kind)
    except OSError as error:
        raise GoneError(f"{host}: {error.strerror or error}") from error
    return found[0][0], found[0][4]


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if number is None:
        return f"no answer within {CONNECT_WITHIN:g} s" if isinstance(error, TimeoutError) else str(error)
    reason = os.strerror(number)
    return f"{reason}; is the user in the group dialout?" if number == errno.EACCES else reason
