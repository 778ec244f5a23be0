"""MQTT by aiomqtt, to any broker: versions 5 and 3.1.1, over TCP, TLS or WebSocket."""

import asyncio
import logging
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import aiomqtt

from botyard_edge.tls import SYSTEM, Tls
from botyard_edge.transport import Received, Session, TransportError, Will

log = logging.getLogger(__name__)

T = TypeVar("T")
Version = Literal["auto", "5", "3.1.1"]

# Commands that wait inside the client; past this they are dropped there with a warning, and the hub repeats them.
MAX_INCOMING = 1000
# Ports where a URL names none; those over WebSocket are what the web uses, so that they pass where MQTT is blocked.
PORTS = {"mqtt": 1883, "mqtts": 8883, "mqtt+ws": 80, "mqtt+wss": 443}
# Where brokers take WebSockets when a URL names no path.
WEBSOCKET_PATH = "/mqtt"
# How a broker says that it does not know version 5: the code of MQTT 3.1.1, and that of MQTT 5.
UNKNOWN_VERSION = (0x01, 0x84)
# What the client says when the socket is closed without a word.
UNSPECIFIED = 0x80
# A connection that is accepted and closed, by a proxy for a broker that is away, or by a broker that is starting.
NO_ANSWER = "the connection was closed before the broker answered"


@dataclass(slots=True)
class MqttTransport:
    """The way to one broker. `url` is `mqtt://host[:port]`, `mqtts://` for TLS, or `mqtt+ws://host[:port][/path]` and
    `mqtt+wss://` for MQTT over WebSocket; times are seconds. `suffix` makes another client id, for a robot that may be
    on one broker twice for a moment."""

    robot: str
    url: str
    username: str | None = None
    password: str | None = None
    keepalive: int = 15
    timeout: float = 10.0
    version: Version = "auto"
    tls: Tls = SYSTEM
    suffix: str = ""
    _old: bool = field(default=False, init=False)

    @property
    def address(self) -> str:
        parts = urlsplit(self.url)
        plain = f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}"
        return plain if parts.scheme in ("mqtt", "mqtts") else f"{parts.scheme}://{plain}{self._path}"

    @property
    def _path(self) -> str:
        path = urlsplit(self.url).path
        return path if path.strip("/") else WEBSOCKET_PATH

    @asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        try:
            client = await self._connected(will)
            async with _Leaving(client), asyncio.TaskGroup() as tasks:
                session = _MqttSession(client, tasks)
                try:
                    yield session
                finally:
                    session.close()
        except* aiomqtt.MqttError as group:
            raise TransportError(_reason(group)) from group

    async def _connected(self, will: Will) -> aiomqtt.Client:
        """A client that is connected, with version 5 where the broker speaks it. Raises MqttError."""
        if self.version == "5" or (self.version == "auto" and not self._old):
            try:
                within = self.timeout if self.version == "5" else self.timeout / 2
                client = await _enter(self._client(will, aiomqtt.ProtocolVersion.V5, within))
                client.timeout = self.timeout
                return client
            except aiomqtt.MqttError as error:
                if self.version == "5" or not _may_be_old(error):
                    raise
        client = await _enter(self._client(will, aiomqtt.ProtocolVersion.V311, self.timeout))
        if self.version == "auto" and not self._old:
            self._old = True  # until the next start, so that each new connection costs one attempt
            log.debug("the broker at %s does not speak MQTT 5; going on with 3.1.1", self.address)
        return client

    def _client(self, will: Will, version: aiomqtt.ProtocolVersion, within: float) -> aiomqtt.Client:
        parts = urlsplit(self.url)
        over_websocket = parts.scheme.startswith("mqtt+")
        client = aiomqtt.Client(
            parts.hostname or "localhost",
            parts.port or PORTS[parts.scheme],
            username=self.username,
            password=self.password,
            identifier=client_id(self.robot) + self.suffix,
            protocol=version,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            # version 5 calls it clean start, and has it by default
            clean_session=True if version is aiomqtt.ProtocolVersion.V311 else None,
            keepalive=self.keepalive,
            timeout=within,
            transport="websockets" if over_websocket else "tcp",
            websocket_path=self._path if over_websocket else None,
            max_queued_incoming_messages=MAX_INCOMING,
            # Else a small message waits for the TCP acknowledgement of the one before it, 40 ms on Linux.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            tls_context=self.tls.context() if parts.scheme in ("mqtts", "mqtt+wss") else None,
        )
        # Messages in flight are bounded by the link's window, so the client's own warning threshold says nothing.
        client.pending_calls_threshold = 1_000_000
        return client


async def _enter(client: aiomqtt.Client) -> aiomqtt.Client:
    inner = client._client  # noqa: SLF001
    heard = inner.on_disconnect
    inner.on_disconnect = _fail_early(client)
    try:
        await _cancellable(client.__aenter__())
    except (asyncio.CancelledError, aiomqtt.MqttError):
        inner.on_disconnect = None
        # aiomqtt leaves the socket open, which would go on to live beside the next attempt's
        inner.disconnect()
        raise
    inner.on_disconnect = heard
    return client


def _fail_early(client: aiomqtt.Client) -> Any:
    """Hears of a connection that ends before the broker has answered; aiomqtt would wait for the answer all the same.
    What it ends with once it is answered, in the moment before aiomqtt is asked again, aiomqtt hears as usual."""
    loop = asyncio.get_running_loop()

    def fail() -> None:
        if not client._connected.done():  # noqa: SLF001
            client._connected.set_exception(aiomqtt.MqttError(NO_ANSWER))  # noqa: SLF001

    def on_disconnect(*told: Any) -> None:
        client._on_disconnect(*told)  # noqa: SLF001
        loop.call_soon_threadsafe(fail)

    return on_disconnect


async def _cancellable(work: Awaitable[T]) -> T:
    """What the work gives, unless this task is cancelled meanwhile.

    aiomqtt waits by `asyncio.wait_for`. Before Python 3.12 that forgets a cancellation which comes in the same moment
    as what is waited for, and whoever was cancelled would go on for ever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    result = await work
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


class _Leaving:
    """The client's exit, for a client that was entered elsewhere."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *exc: object) -> None:
        await self._client.__aexit__(None, None, None)


class _MqttSession:
    def __init__(self, client: aiomqtt.Client, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self._confirming: set[asyncio.Task[None]] = set()

    async def subscribe(self, topic: str) -> None:
        try:
            # Not at QoS 1: the hub repeats what is not answered, and nats-server makes a consumer of each such
            # subscription, which takes 20 ms of its CPU, and allows 1,000 of them.
            granted = await _cancellable(self._client.subscribe(topic, qos=0))
        except aiomqtt.MqttError as error:
            raise TransportError(str(error)) from error
        # From 0x80 on it is how a broker says that it may not be listened to.
        if any((code if isinstance(code, int) else code.value) >= 0x80 for code in granted):
            raise TransportError(f"the broker does not allow to listen to {topic}")

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        sending = self._client.publish(topic, payload, qos=qos, retain=retain)
        if qos == 0 or wait:
            try:
                await _cancellable(sending)
            except aiomqtt.MqttError as error:
                raise TransportError(str(error)) from error
            return
        # The broker's confirmation is not waited for: one round trip per message would limit a slow link to a few
        # messages per second, and what counts is the hub's acknowledgement. A missing one ends the session.
        task = self._tasks.create_task(sending, name="edge.mqtt.publish")
        self._confirming.add(task)
        task.add_done_callback(self._confirming.discard)
        await asyncio.sleep(0)  # the task hands the message to the client before the next one is published

    async def messages(self) -> AsyncIterator[Received]:
        try:
            async for message in self._client.messages:
                payload = message.payload if isinstance(message.payload, bytes) else b""
                yield Received(str(message.topic), payload)
        except aiomqtt.MqttError as error:
            raise TransportError(_reason(error)) from error

    def close(self) -> None:
        for task in self._confirming:
            task.cancel()


def client_id(robot: str) -> str:
    """The MQTT client id of a robot; NATS refuses most characters that a broker might allow."""
    return "botyard-" + re.sub(r"[^A-Za-z0-9_-]", "-", robot)


def _may_be_old(error: aiomqtt.MqttError) -> bool:
    """Whether a broker that does not know version 5 may have answered so. Some say nothing, and close or do not."""
    return _code(error) in UNKNOWN_VERSION or str(error) == NO_ANSWER or "timed out" in str(error)


def _code(error: BaseException) -> int | None:
    code = getattr(error, "rc", None)
    return code if isinstance(code, int) else getattr(code, "value", None)


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = error.__cause__ or error
    if _code(cause) == UNSPECIFIED:
        return "the connection was lost"
    return str(cause) or str(error)
