"""MQTT 3.1.1 by aiomqtt, to any broker."""

import asyncio
import re
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiomqtt

from botyard_edge.transport import Received, Session, TransportError, Will

# Commands that wait inside the client; past this they are dropped there with a warning, and the hub repeats them.
MAX_INCOMING = 1000


@dataclass(frozen=True, slots=True)
class MqttTransport:
    """The way to one broker. `url` is `mqtt://host[:port]` or `mqtts://host[:port]`; times are seconds."""

    robot: str
    url: str
    username: str | None = None
    password: str | None = None
    keepalive: int = 15
    timeout: float = 10.0

    @property
    def address(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.hostname}:{parts.port or (8883 if parts.scheme == 'mqtts' else 1883)}"

    @asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        parts = urlsplit(self.url)
        tls = parts.scheme == "mqtts"
        client = aiomqtt.Client(
            parts.hostname or "localhost",
            parts.port or (8883 if tls else 1883),
            username=self.username,
            password=self.password,
            identifier=client_id(self.robot),
            protocol=aiomqtt.ProtocolVersion.V311,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            clean_session=True,
            keepalive=self.keepalive,
            timeout=self.timeout,
            max_queued_incoming_messages=MAX_INCOMING,
            # Else a small message waits for the TCP acknowledgement of the one before it, 40 ms on Linux.
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
            tls_params=aiomqtt.TLSParameters() if tls else None,
        )
        # Messages in flight are bounded by the link's window, so the client's own warning threshold says nothing.
        client.pending_calls_threshold = 1_000_000
        try:
            async with client, asyncio.TaskGroup() as tasks:
                session = _MqttSession(client, tasks)
                try:
                    yield session
                finally:
                    session.close()
        except* aiomqtt.MqttError as group:
            raise TransportError(_reason(group)) from group


class _MqttSession:
    def __init__(self, client: aiomqtt.Client, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._tasks = tasks
        self._confirming: set[asyncio.Task[None]] = set()

    async def subscribe(self, topic: str) -> None:
        try:
            granted = await self._client.subscribe(topic, qos=1)
        except aiomqtt.MqttError as error:
            raise TransportError(str(error)) from error
        # 0x80 is how a 3.1.1 broker says that it may not be listened to.
        if any((code if isinstance(code, int) else code.value) >= 0x80 for code in granted):
            raise TransportError(f"the broker does not allow to listen to {topic}")

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        sending = self._client.publish(topic, payload, qos=qos, retain=retain)
        if qos == 0 or wait:
            try:
                await sending
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


def _reason(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    cause = error.__cause__
    return str(cause) if cause is not None and str(cause) else str(error)
