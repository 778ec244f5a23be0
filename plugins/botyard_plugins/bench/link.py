"""A connection to the broker, for one virtual robot or for several that share it."""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from botyard_plugins.bench import mqtt

log = logging.getLogger(__name__)

KEEPALIVE = 30
CONNECT_WITHIN = 10.0
RECONNECT_MIN, RECONNECT_MAX = 0.1, 2.0
FILTERS = 200  # in one SUBSCRIBE
BUFFERED = 256 * 1024  # bytes that wait in this process before a link is full


class LinkError(Exception):
    """There is no connection; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the broker is and how to get in."""

    host: str
    port: int
    login: tuple[str, str] | None = None
    tls: bool = False

    @classmethod
    def parse(cls, url: str, token: str | None = None) -> "Address":
        """From a URL; a token is the password of whoever gives none."""
        parts = urlsplit(url)
        tls = parts.scheme == "mqtts"
        login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
        return cls(
            parts.hostname or "localhost",
            parts.port or (8883 if tls else 1883),
            login or (("bench", token) if token else None),
            tls,
        )


class _Protocol(asyncio.Protocol):
    """Bytes in, acknowledgements out."""

    def __init__(self, heard: Callable[[bytes, bytes], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.to_grant = 0
        self.full = False
        self._heard = heard
        self._rest = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP connection is
        transport.set_write_buffer_limits(BUFFERED)
        self.transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        for future in (self.closed, self.answer, self.granted):
            if not future.done():
                future.cancel()

    def pause_writing(self) -> None:
        self.full = True

    def resume_writing(self) -> None:
        self.full = False

    def data_received(self, data: bytes) -> None:
        self._rest += data
        try:
            packets, used = mqtt.split(self._rest)
            del self._rest[:used]
            for first, body in packets:
                self._packet(first, body)
        except ValueError as error:
            log.warning("the broker sends what is no MQTT: %s", error)
            if self.transport:
                self.transport.abort()

    def _packet(self, first: int, body: bytes) -> None:
        kind = first & 0xF0
        if kind == mqtt.PUBLISH:
            self._heard(*mqtt.published(first, body))
        elif kind == mqtt.CONNACK and not self.answer.done():
            self.answer.set_result(body[1])
        elif kind == mqtt.SUBACK:
            self.to_grant -= 1
            if not self.to_grant and not self.granted.done():
                self.granted.set_result(None)


class Link:
    """Connects, and again after each loss, until it is cancelled. `hello` gives the packets to begin with, `heard` gets
    topic and payload of what comes."""

    def __init__(
        self,
        client: str,
        address: Address,
        filters: Sequence[str],
        *,
        will: tuple[str, bytes] | None,
        hello: Callable[["Link"], list[bytes]],
        heard: Callable[[bytes, bytes], None],
        rng: random.Random,
    ) -> None:
        self.connected = False
        self.connections = 0
        self.problem = ""
        self.identifiers = mqtt.identifiers()
        self._client = client
        self._address = address
        self._filters = filters
        self._will = will
        self._hello = hello
        self._heard = heard
        self._rng = rng
        self._protocol: _Protocol | None = None
        self._closing = False

    @property
    def ready(self) -> bool:
        """Whether something can be sent now."""
        return self.connected and self._protocol is not None and not self._protocol.full

    def send(self, data: bytes) -> None:
        """Send packets; nothing happens without a connection."""
        if self.connected and self._protocol and self._protocol.transport:
            self._protocol.transport.write(data)

    async def run(self) -> None:
        """Keep the connection until closed or cancelled."""
        failures = 0
        while True:
            try:
                protocol = await self._connect()
                failures = 0
                await asyncio.wait([protocol.closed])
                self.problem = "the broker closed the connection"
            except (OSError, LinkError, TimeoutError) as error:
                self.problem = str(error) or "no answer in time"
            finally:
                self._drop()
            if self._closing:
                return
            failures += 1
            await asyncio.sleep(self._rng.uniform(0.5, 1.0) * min(RECONNECT_MAX, RECONNECT_MIN * 2**failures))

    def ping(self) -> None:
        """A broker closes a connection that says nothing for one and a half times `KEEPALIVE`."""
        self.send(mqtt.PINGREQ)

    async def close(self, last: bytes) -> None:
        """Say goodbye and wait until it is on its way."""
        self._closing = True
        protocol = self._protocol
        if self.connected and protocol and protocol.transport:
            protocol.transport.write(last + mqtt.DISCONNECT)
            protocol.transport.close()
            await asyncio.wait([protocol.closed], timeout=CONNECT_WITHIN)

    def _drop(self) -> None:
        self.connected = False
        if self._protocol and self._protocol.transport:
            self._protocol.transport.abort()
        self._protocol = None

    async def _connect(self) -> _Protocol:
        """Raises LinkError, OSError and TimeoutError."""
        address = self._address
        secure: Any = ssl.create_default_context() if address.tls else None
        async with asyncio.timeout(CONNECT_WITHIN):
            transport, protocol = await asyncio.get_running_loop().create_connection(
                lambda: _Protocol(self._heard), address.host, address.port, ssl=secure
            )
            self._protocol = protocol
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport.write(mqtt.connect(self._client, KEEPALIVE, address.login, self._will))
            await asyncio.wait([protocol.answer])
            code = -1 if protocol.answer.cancelled() else protocol.answer.result()
            if code:
                why = mqtt.REFUSALS.get(code, "it closed the connection")
                raise LinkError(f"the broker at {address.host}:{address.port} refuses: {why}")
            await self._subscribe(protocol)
        self.connected = True
        self.connections += 1
        transport.write(b"".join(self._hello(self)))
        return protocol

    async def _subscribe(self, protocol: _Protocol) -> None:
        parts = [self._filters[at : at + FILTERS] for at in range(0, len(self._filters), FILTERS)]
        protocol.to_grant = len(parts)
        for part in parts:
            assert protocol.transport  # noqa: S101 - it was connected just now
            protocol.transport.write(mqtt.subscribe(next(self.identifiers), part))
        if parts:
            await asyncio.wait([protocol.granted])
            if protocol.granted.cancelled():
                raise LinkError(f"the broker at {self._address.host} closed the connection")
