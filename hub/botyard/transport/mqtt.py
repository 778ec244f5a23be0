"""MQTT: the hub as a client of its embedded broker or of any other."""

import asyncio
import contextlib
import logging
import random
import secrets
import ssl
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Self
from urllib.parse import unquote, urlsplit

from botyard.core.actor import HUB
from botyard.core.config import Config, is_loopback
from botyard.core.events import RobotRemoved, RobotRetired, TransportChanged
from botyard.core.tasks import Tasks
from botyard.plugin.api import AuthProvider, Inbox, PluginContext, Transport, hookimpl
from botyard.transport.client import Connection, Login, MqttError, Origin, connected
from botyard.transport.embedded import MAX_PAYLOAD, BrokerSettings, EmbeddedBroker
from botyard_schemas import Envelope, encode, topics

log = logging.getLogger(__name__)

RECONNECT_MIN, RECONNECT_MAX = 0.2, 10.0
SEND_WITHIN = 2.0
# So many messages are taken in before others in this process have their turn.
SLICE = 200
# The embedded broker's end is noticed within this, when it was the reason that a connection was lost: seconds.
NOTICED_WITHIN = 0.5


@hookimpl
def botyard_transports(context: PluginContext, inbox: Inbox, auth: Sequence[AuthProvider]) -> Sequence[Transport]:
    config = context.config
    if config.broker.url:
        return [MqttTransport(context, inbox, Address.from_url(config.broker.url), None)]
    token = next((found for provider in auth if (found := provider.broker_token())), None)
    settings = _embedded_settings(config, token)
    broker = EmbeddedBroker(settings)
    address = Address(broker.host, config.broker.port, "hub" if settings.token else None, settings.token)
    return [MqttTransport(context, inbox, address, broker)]


def _embedded_settings(config: Config, token: str | None) -> BrokerSettings:
    return BrokerSettings(
        host=config.broker.host,
        port=config.broker.port,
        folder=config.data / "broker",
        # well above our own limit, so that a message that is too large reaches the quarantine and cuts nobody off
        max_payload=min(max(8 * 1024 * 1024, 8 * config.ingest.max_message_bytes), MAX_PAYLOAD),
        token=None if is_loopback(config.broker.host) else token,
        websocket_port=config.broker.websocket_port,
    )


class Address:
    """Where a broker is and how to get in."""

    def __init__(
        self, host: str, port: int, username: str | None = None, password: str | None = None, *, tls: bool = False
    ) -> None:
        self.host, self.port, self.username, self.password, self.tls = host, port, username, password, tls

    @classmethod
    def from_url(cls, url: str) -> "Address":
        parts = urlsplit(url)
        tls = parts.scheme == "mqtts"
        return cls(
            parts.hostname or "",
            parts.port or (8883 if tls else 1883),
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
            tls=tls,
        )

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


class MqttTransport(Transport):
    """One connection to a broker, kept up for as long as the `async with` lasts."""

    name = "mqtt"

    def __init__(self, context: PluginContext, inbox: Inbox, address: Address, broker: EmbeddedBroker | None) -> None:
        self._context = context
        self._inbox = inbox
        self._address = address
        self.broker = broker
        # robots on an embedded broker that only this machine can reach are on this machine
        local = broker is not None and is_loopback(context.config.broker.host)
        self._peer = "127.0.0.1" if local else None
        self._client: Connection | None = None
        self._tasks = Tasks()
        self._removed: set[str] = set()
        self._error: str | None = "not connected yet"
        self._random = random.Random()
        self._stack = contextlib.AsyncExitStack()

    @property
    def address(self) -> str:
        return str(self._address)

    @property
    def connected(self) -> bool:
        return self._client is not None and self._client.alive

    @property
    def error(self) -> str | None:
        return self._error

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            if self.broker:
                await stack.enter_async_context(self.broker)
                self._address.port = self.broker.port
            stack.callback(self._context.bus.subscribe(RobotRemoved, self._forget))
            stack.callback(self._context.bus.subscribe(RobotRetired, self._forget))
            await self._tasks.__aenter__()
            stack.push_async_exit(self._end)
            self._tasks.start(self._keep_connected(), "hub.mqtt")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._stack.__aexit__(*exc)

    async def _end(self, *exc: Any) -> None:
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)

    async def send(self, envelope: Envelope) -> bool:
        client = self._client
        if client is None or not client.alive:
            return False
        topic, payload = topics.down(envelope.robot, envelope.type), encode(envelope)
        if envelope.type in ("ack", "time"):
            return client.publish_unconfirmed(topic, payload)  # it is repeated when it is lost
        try:
            async with asyncio.timeout(SEND_WITHIN):
                await client.publish(topic, payload)
        except (MqttError, TimeoutError):
            return False  # the loss of the connection is said once, by the task that keeps it up
        return True

    async def acknowledge(self, acks: Sequence[Envelope]) -> None:
        """As `Transport.acknowledge`: all of them in one write."""
        client = self._client
        if client is not None and client.alive:
            client.publish_many((topics.down(ack.robot, ack.type), encode(ack)) for ack in acks)

    async def _keep_connected(self) -> None:
        attempt = 0
        while True:
            try:
                async with self._connect() as client:
                    attempt = 0
                    while self._removed:
                        client.clear(topics.presence(self._removed.pop()))
                    await client.subscribe((topics.ALL_UP, topics.ALL_PRESENCE), qos=1)
                    self._came_up(client)
                    await self._read(client)
            except (MqttError, OSError) as error:
                await self._went_down(error)
            finally:
                self._client = None
            # "full jitter": many hubs and robots must not come back in step
            await self._context.clock.sleep(self._random.uniform(RECONNECT_MIN, min(RECONNECT_MAX, 0.4 * 2**attempt)))
            attempt = min(attempt + 1, 10)

    def _connect(self) -> AbstractAsyncContextManager[Connection]:
        address, config = self._address, self._context.config
        ca = config.base / config.broker.ca if config.broker.ca else None
        login = Login(f"botyard-hub-{secrets.token_hex(4)}", address.username, address.password)
        tls = ssl.create_default_context(cafile=ca) if address.tls else None
        origin = Origin(self.name, self._peer, self._context.clock.now)
        return connected(address.host, address.port, login, tls, origin)

    async def _read(self, client: Connection) -> None:
        while True:
            taken = await client.received()
            for start in range(0, len(taken), SLICE):
                some = taken[start : start + SLICE]
                await self._inbox.receive_all(some)
                client.confirm(some)
                await asyncio.sleep(0)

    def _forget(self, removed: RobotRemoved | RobotRetired) -> None:
        """The presence that the broker retains would bring a removed robot back at the next start."""
        if self._client is None:
            self._removed.add(removed.robot)
        else:
            self._client.clear(topics.presence(removed.robot))

    def _came_up(self, client: Connection) -> None:
        self._client, self._error = client, None
        log.info("connected to the broker at %s", self._address)
        self._context.bus.publish(TransportChanged(actor=HUB, transport=self.name, connected=True))

    async def _went_down(self, error: Exception) -> None:
        sentence = str(error) or type(error).__name__
        news = self._client is not None or self._error == "not connected yet"
        self._client, self._error = None, sentence
        if news:
            # an embedded broker's end is said by the one who watches it
            if self.broker is None or not await self.broker.has_ended(NOTICED_WITHIN):
                log.warning("no connection to the broker at %s: %s; trying until it is back", self._address, sentence)
            self._context.bus.publish(TransportChanged(actor=HUB, transport=self.name, connected=False, error=sentence))
