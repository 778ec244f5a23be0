"""A thin MQTT client for fleets in one process: what a robot's link needs of MQTT 3.1.1, and nothing else.

The edge's own transport stands on a general client, which suits one robot on a computer of its own. It costs about
0.9 ms of CPU for each robot and second, so that some four hundred of them fill a core. This one costs a tenth of it.
What goes over the wire is the same: client id, last will, topics and qualities of service.
"""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from botyard.transport import packets
from botyard.transport.packets import Kind, Other, PacketError, Parser
from botyard_edge.mqtt import PORTS, client_id
from botyard_edge.tls import SYSTEM, Tls
from botyard_edge.transport import Received, Session, TransportError, Will

# Messages from the hub that wait to be looked at; then nothing more is read.
MAX_INCOMING = 1000
# What the network may take to carry a goodbye: seconds.
CLOSE_WITHIN = 2.0
# Flags of CONNECT (MQTT 3.1.1, section 3.1.2.3): clean session, a last will, that at QoS 1, and retained.
CLEAN, WILL, WILL_QOS_1, WILL_RETAINED, PASSWORD, USERNAME = 0x02, 0x04, 0x08, 0x20, 0x40, 0x80


@dataclass(frozen=True, slots=True)
class ThinTransport:
    """The way to one broker: `mqtt://host[:port]`, or `mqtts://` for TLS. Times are seconds."""

    robot: str
    url: str
    username: str | None = None
    password: str | None = None
    keepalive: int = 15
    timeout: float = 10.0
    tls: Tls = SYSTEM

    @property
    def address(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}"

    @contextlib.asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        connection = await self._connected(will)
        try:
            yield connection
        finally:
            await connection.close()

    async def _connected(self, will: Will) -> "Connection":
        parts, loop = urlsplit(self.url), asyncio.get_running_loop()
        tls = self.tls.context() if parts.scheme == "mqtts" else None
        port = parts.port or PORTS[parts.scheme]
        connection: Connection | None = None
        try:
            async with asyncio.timeout(self.timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(self.keepalive, self.timeout), parts.hostname or "localhost", port, ssl=tls
                )
                await connection.introduce(self._hello(will))
        except TimeoutError as error:
            problem: Exception = error
            sentence = "no answer in time"
        except OSError as error:
            problem, sentence = error, error.strerror or str(error)
        except (UnicodeError, PacketError) as error:
            problem, sentence = error, str(error)
        else:
            return connection
        if connection is not None:
            connection.abort()
        raise TransportError(sentence) from problem

    def _hello(self, will: Will) -> bytes:
        """CONNECT, section 3.1."""
        flags = CLEAN | WILL | WILL_QOS_1 | WILL_RETAINED
        flags |= (USERNAME if self.username is not None else 0) | (PASSWORD if self.password is not None else 0)
        body = packets.text("MQTT") + bytes((4, flags)) + self.keepalive.to_bytes(2, "big")
        body += packets.text(client_id(self.robot)) + packets.text(will.topic) + packets.text(will.payload)
        for credential in (self.username, self.password):
            if credential is not None:
                body += packets.text(credential)
        return packets.packet(Kind.CONNECT << 4, body)


class Connection(asyncio.Protocol):
    """One connection of a robot. When it is lost, everything that waits for it raises TransportError."""

    def __init__(self, keepalive: int, timeout: float) -> None:
        self._keepalive = keepalive
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = Parser()
        self._incoming: deque[tuple[Received, int]] = deque()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._paused = False
        self._identifiers = itertools.cycle(range(1, 0x10000))
        self._unconfirmed: dict[int, float] = {}
        self._waits: dict[int, asyncio.Future[bytes]] = {}
        self._welcome: asyncio.Future[bytes] = self._loop.create_future()
        self._lost: str | None = None
        self._heard = self._said = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None

    # --- from asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport
        self._timer = self._loop.call_later(self._keepalive / 2, self._look)

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        try:
            publishes, others = self._parser.feed(data)
        except PacketError as error:
            self._fail(f"the broker sent {error}")
            return
        for other in others:
            self._take(other)
        for message in publishes:
            self._incoming.append((Received(message.topic, message.payload), message.identifier))
        if publishes:
            self._arrived.set()
            if len(self._incoming) > MAX_INCOMING and not self._paused:
                self._paused = True
                self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(str(exc) if exc else "the connection was lost")
        self._gone.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def _take(self, other: Other) -> None:
        if other.kind == Kind.CONNACK and not self._welcome.done():
            self._welcome.set_result(other.body)
        elif other.kind in (Kind.SUBACK, Kind.PUBACK) and len(other.body) >= 2:
            identifier = int.from_bytes(other.body[:2], "big")
            self._unconfirmed.pop(identifier, None)
            if (wait := self._waits.pop(identifier, None)) is not None and not wait.done():
                wait.set_result(other.body[2:])

    def _look(self) -> None:
        """Whether the broker still answers; and a sign of life for it."""
        now = self._loop.time()
        oldest = next(iter(self._unconfirmed.values()), now)
        if now - self._heard > 1.5 * self._keepalive and not self._paused:
            self._fail("the broker is silent")
        elif now - oldest > self._timeout + self._keepalive / 2:
            self._fail(f"the broker has not confirmed a message within {now - oldest:.0f} s")
        else:
            if now - self._said > self._keepalive / 2 or now - self._heard > self._keepalive / 2:
                self._write(packets.PINGREQ)
            self._timer = self._loop.call_later(self._keepalive / 2, self._look)

    def _fail(self, sentence: str) -> None:
        if self._lost is None:
            self._lost = sentence
            self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        self._arrived.set()
        self._writable.set()
        for wait in (self._welcome, *self._waits.values()):
            if not wait.done():
                wait.set_exception(TransportError(self._lost))
                wait.exception()  # it may be that nobody waits for this one
        self._waits.clear()

    def _write(self, packet: bytes) -> None:
        self._said = self._loop.time()
        self._transport.write(packet)

    # --- for the link

    async def introduce(self, hello: bytes) -> None:
        """Say who it is and wait until it is welcome. Raises TransportError."""
        self._write(hello)
        answer = await self._welcome
        if len(answer) < 2 or answer[1]:
            code = answer[1] if len(answer) > 1 else 0
            raise TransportError(packets.REFUSALS.get(code, f"the broker refuses the connection (code {code})"))

    async def subscribe(self, topic: str) -> None:
        """Raises TransportError when the broker refuses. At QoS 0, as the edge does it."""
        identifier = self._identifier()
        granted = await self._confirmed(identifier, packets.subscribe(identifier, [topic], 0))
        if not granted or granted[0] >= 0x80:
            raise TransportError(f"the broker does not allow to listen to {topic}")

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        """See `Session`. A confirmation that is missing ends the connection, whoever waits for it."""
        if not self._writable.is_set():
            await self._writable.wait()
        if self._lost is not None:
            raise TransportError(self._lost)
        if not qos:
            self._write(packets.publish(topic, payload, retain=retain))
            return
        identifier = self._identifier()
        packet = packets.publish(topic, payload, identifier, retain=retain)
        if wait:
            await self._confirmed(identifier, packet)
        else:
            self._unconfirmed[identifier] = self._loop.time()
            self._write(packet)

    async def messages(self) -> AsyncIterator[Received]:
        """What arrives, until the connection ends with a TransportError."""
        while True:
            while self._incoming:
                message, identifier = self._incoming.popleft()
                if identifier and self._lost is None:
                    self._write(packets.puback([identifier]))
                yield message
            if self._lost is not None:
                raise TransportError(self._lost)
            if self._paused:
                self._paused = False
                self._transport.resume_reading()
            self._arrived.clear()
            await self._arrived.wait()

    def abort(self) -> None:
        """End it without a goodbye, as a power cut does."""
        self._fail("the connection was cut")

    async def close(self) -> None:
        """Say goodbye and end the connection, within a bounded time."""
        if self._lost is None:
            self._write(packets.DISCONNECT)
            self._lost = "the connection was closed"
            self._transport.close()
            self._fail(self._lost)
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._gone.wait()
        except TimeoutError:  # it waits for the network to take what was written before
            self._transport.abort()

    def _identifier(self) -> int:
        return next(one for one in self._identifiers if one not in self._unconfirmed and one not in self._waits)

    async def _confirmed(self, identifier: int, packet: bytes) -> bytes:
        if self._lost is not None:
            raise TransportError(self._lost)
        wait = self._waits[identifier] = self._loop.create_future()
        self._write(packet)
        try:
            async with asyncio.timeout(self._timeout):
                answer: bytes = await wait
                return answer
        except TimeoutError as error:
            raise TransportError(f"the broker has not answered within {self._timeout:g} s") from error
        finally:
            self._waits.pop(identifier, None)
