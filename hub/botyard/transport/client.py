"""A connection to an MQTT 3.1.1 broker, made for reading what a whole fleet sends.

General clients hand over each message on its own, through a task switch; here everything that one read of the socket
brought is handed over together, acknowledged together, and reading pauses while the hub is behind. `benchmarks/` has
the comparison.
"""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from botyard.transport import packets
from botyard.transport.packets import Kind, Other, PacketError, Parser, Publish
from botyard_schemas.clock import SystemClock

KEEPALIVE = 20
CONNECT_WITHIN = 5.0
# Whatever the broker is asked, it answers within this, or is taken for broken: seconds.
ANSWER_WITHIN = 10.0
# Bytes that were read and not taken yet: above this reading pauses until they are.
PAUSE_ABOVE = 4 * 1024 * 1024
# Messages of ours at QoS 1 that wait for the broker.
MAX_UNCONFIRMED = 1000


class MqttError(Exception):
    """The connection cannot be made, or was lost; the sentence says why."""


@dataclass(frozen=True, slots=True)
class Login:
    """How a client introduces itself."""

    client_id: str
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """What the messages of a connection say of where they come from; `now` gives the time they come at."""

    transport: str = "mqtt"
    peer: str | None = None
    now: Callable[[], int] = SystemClock().now


class Connection(asyncio.Protocol):
    """One connection. Made by `connected`; when it is lost, everything that waits for it raises MqttError."""

    def __init__(self, origin: Origin, max_packet: int = packets.MAX_PACKET) -> None:
        loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._parser = Parser(max_packet, origin.transport, origin.peer)
        self._now = origin.now
        self._waiting: list[Publish] = []
        self._waiting_bytes = 0
        self._paused = False
        self._subscribing = False
        self._arrived = asyncio.Event()
        self._writable = True
        self._identifiers = itertools.cycle(range(1, 0x10000))
        self._replies: dict[int, asyncio.Future[bytes]] = {}
        self._welcome: asyncio.Future[bytes] = loop.create_future()
        self._lost: MqttError | None = None
        self._heard = loop.time()

    # --- from asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the type checker
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard = asyncio.get_running_loop().time()
        try:
            publishes, others = self._parser.feed(data, self._now())
            for other in others:
                self._take(other)
        except PacketError as error:
            self._fail(f"the broker sent {error}")
            return
        self._waiting_bytes += len(data)
        if publishes:
            self._waiting += publishes
            self._arrived.set()
            self._pause_if_full()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(str(exc) if exc else "the broker closed the connection")

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True

    def _pause_if_full(self) -> None:
        # not before the broker has answered a subscription, since nobody takes anything before that
        if self._waiting_bytes > PAUSE_ABOVE and not self._paused and not self._subscribing:
            self._paused = True
            self._transport.pause_reading()

    def _take(self, other: Other) -> None:
        if other.kind == Kind.CONNACK and not self._welcome.done():
            self._welcome.set_result(other.body)
        elif other.kind in (Kind.SUBACK, Kind.PUBACK) and len(other.body) >= 2:
            reply = self._replies.pop(int.from_bytes(other.body[:2], "big"), None)
            if reply is not None and not reply.done():
                reply.set_result(other.body[2:])

    def _fail(self, sentence: str) -> None:
        if self._lost is None:
            self._lost = MqttError(sentence)
        self._transport.abort()
        self._arrived.set()
        for future in (self._welcome, *self._replies.values()):
            if not future.done():
                future.set_exception(self._lost)
                future.exception()  # it may be that nobody waits for this one
        self._replies.clear()

    # --- for the hub

    @property
    def alive(self) -> bool:
        """Whether it was not lost, as far as one can know."""
        return self._lost is None

    async def introduce(self, login: Login) -> None:
        """Say who we are and wait until we are welcome. Raises MqttError."""
        self._transport.write(packets.connect(login.client_id, login.username, login.password, KEEPALIVE))
        answer = await self._welcome
        if len(answer) < 2 or answer[1]:
            code = answer[1] if len(answer) > 1 else 0
            raise MqttError(packets.REFUSALS.get(code, f"the broker refuses the connection (code {code})"))

    async def subscribe(self, topics: Sequence[str], qos: int) -> None:
        """Listen to topic filters. Raises MqttError, also when the broker does not allow one of them."""
        identifier = next(self._identifiers)
        self._subscribing = True
        try:
            granted = await self._request(identifier, packets.subscribe(identifier, topics, qos))
        finally:
            self._subscribing = False
        for topic, code in itertools.zip_longest(topics, granted[: len(topics)], fillvalue=0x80):
            if int(code) >= 0x80:
                raise MqttError(f"the broker refuses the subscription to {topic}")
        self._pause_if_full()

    def publish_unconfirmed(self, topic: str, payload: bytes) -> bool:
        """Send at QoS 0; False when the broker does not keep up."""
        if self._lost is not None or not self._writable:
            return False
        self._transport.write(packets.publish(topic, payload))
        return True

    def publish_many(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send messages at QoS 0, or none of them when the broker does not keep up."""
        if self._lost is None and self._writable:
            self._transport.write(b"".join([packets.publish(topic, payload) for topic, payload in messages]))

    def clear(self, topic: str) -> None:
        """Let the broker forget the message that it retains on a topic."""
        if self._lost is None:
            self._transport.write(packets.publish(topic, b"", retain=True))

    async def publish(self, topic: str, payload: bytes) -> None:
        """Send at QoS 1 and wait for the broker's confirmation. Raises MqttError."""
        if len(self._replies) >= MAX_UNCONFIRMED:
            raise MqttError(f"the broker has not confirmed {MAX_UNCONFIRMED} messages")
        identifier = next(self._identifiers)
        while identifier in self._replies:
            identifier = next(self._identifiers)
        await self._request(identifier, packets.publish(topic, payload, identifier))

    async def received(self) -> list[Publish]:
        """Everything that came in since the last call; waits for something. To be given to `confirm` once it is taken
        in. Raises MqttError."""
        while not self._waiting:
            if self._lost is not None:
                raise self._lost
            self._arrived.clear()
            await self._arrived.wait()
        taken, self._waiting, self._waiting_bytes = self._waiting, [], 0
        if self._paused:
            self._paused = False
            self._heard = asyncio.get_running_loop().time()  # nobody listened to the broker until now
            self._transport.resume_reading()
        return taken

    def confirm(self, taken: list[Publish]) -> None:
        """Acknowledge messages to the broker."""
        identifiers = [message.identifier for message in taken if message.identifier]
        if identifiers and self._lost is None:
            self._transport.write(packets.puback(identifiers))

    async def stay_alive(self) -> None:
        """Ping the broker, until it does not answer. Raises MqttError."""
        loop = asyncio.get_running_loop()
        while self._lost is None:
            await asyncio.sleep(KEEPALIVE / 2)
            if self._paused:
                self._heard = loop.time()  # it is we who do not listen
            if loop.time() - self._heard > 1.5 * KEEPALIVE:
                self._fail("the broker is silent")
            elif self._lost is None:
                self._transport.write(packets.PINGREQ)
        raise self._lost

    def close(self) -> None:
        """Say goodbye and end the connection."""
        if self._lost is None:
            self._transport.write(packets.DISCONNECT)
        self._lost = self._lost or MqttError("the connection was closed")
        self._transport.close()

    async def _request(self, identifier: int, request: bytes) -> bytes:
        if self._lost is not None:
            raise self._lost
        reply = self._replies[identifier] = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                answer: bytes = await reply
                return answer
        except TimeoutError as error:
            raise MqttError(f"the broker has not answered within {ANSWER_WITHIN:g} s") from error
        finally:
            self._replies.pop(identifier, None)


@asynccontextmanager
async def connected(
    host: str,
    port: int,
    login: Login,
    tls: ssl.SSLContext | None = None,
    origin: Origin = Origin(),
    max_packet: int = packets.MAX_PACKET,
) -> AsyncIterator[Connection]:
    """A connection for as long as the block lasts. Raises MqttError when it cannot be made, or is lost meanwhile."""
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            loop = asyncio.get_running_loop()
            try:
                _, connection = await loop.create_connection(
                    lambda: Connection(origin, max_packet), host, port, ssl=tls
                )
            except UnicodeError as error:
                raise MqttError(f"{host!r} is no name that a host can have") from error
            except (ValueError, OverflowError) as error:
                raise MqttError(f"no connection to {host!r}, port {port}, can be made: {error}") from error
            try:
                await connection.introduce(login)
            except PacketError as error:
                connection.close()
                raise MqttError(str(error)) from error
            except BaseException:
                connection.close()
                raise
    except TimeoutError as error:
        raise MqttError(f"no answer within {CONNECT_WITHIN:g} s") from error
    except OSError as error:
        raise MqttError(error.strerror or str(error)) from error
    pinging = asyncio.create_task(_quietly(connection), name="hub.mqtt.ping")
    try:
        yield connection
    finally:
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        connection.close()


async def _quietly(connection: Connection) -> None:
    with contextlib.suppress(MqttError):  # whoever reads hears of it, too
        await connection.stay_alive()
