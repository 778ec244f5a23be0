"""The link against a real Mosquitto, with a client beside it that we did not write."""

import asyncio
import json
import random
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiomqtt
import pytest

from botyard_edge.bus import Bus
from botyard_edge.link import Link, LinkSettings
from botyard_edge.memory import MemoryOutbox
from botyard_edge.mqtt import MqttTransport
from botyard_edge.node import Backoff
from botyard_edge.transport import TransportError, Will
from botyard_schemas import Ack, Channel, Command, Envelope, Event, Group, Presence, Telemetry, decode, encode, topics
from botyard_schemas.clock import SystemClock
from tests.processes import Running, free_port, wait_until

pytestmark = pytest.mark.mosquitto
WITHIN = 20.0
NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


class Hub:
    """Acknowledges what arrives on a real broker."""

    def __init__(self) -> None:
        self.seqs: set[int] = set()
        self.order: list[int] = []
        self.presence: list[tuple[str, str | None, bool]] = []
        self.up = asyncio.Event()

    async def run(self, url: str) -> None:
        parts = urlsplit(url)
        while True:
            try:
                async with aiomqtt.Client(parts.hostname or "", parts.port or 0, socket_options=NODELAY) as client:
                    await client.subscribe("botyard/v1/+/up/+", qos=1)
                    await client.subscribe("botyard/v1/+/presence", qos=1)
                    self.up.set()
                    async for message in client.messages:
                        await self._take(client, message)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.1)

    async def _take(self, client: aiomqtt.Client, message: aiomqtt.Message) -> None:
        assert isinstance(message.payload, bytes)
        envelope = decode(message.payload)
        if isinstance(envelope.body, Presence):
            self.presence.append((envelope.body.status, envelope.body.reason, message.retain))
            return
        self.seqs.add(envelope.seq)
        self.order.append(envelope.seq)
        position = next(n for n in range(1, len(self.seqs) + 2) if n not in self.seqs) - 1
        ack = encode(Envelope(envelope.robot, envelope.ts, Ack(envelope.epoch, position)))
        await client.publish(topics.down(envelope.robot, "ack"), ack, qos=0)


async def eventually(condition: Any, what: str) -> None:
    async with asyncio.timeout(WITHIN):
        while not condition():  # noqa: ASYNC110 - a real process is waited for
            await asyncio.sleep(0.01)
    assert condition(), what


@asynccontextmanager
async def wired(url: str, commands: list[Command] | None = None) -> AsyncIterator[tuple[Hub, MemoryOutbox, Link]]:
    hub = Hub()
    clock = SystemClock()
    outbox = MemoryOutbox("r1", clock=clock, rng=random.Random())
    link = Link(
        "r1",
        MqttTransport("r1", url, timeout=3.0),
        outbox,
        clock=clock,
        rng=random.Random(),
        on_command=(commands if commands is not None else []).append,
        bus=Bus(),
        settings=LinkSettings(heartbeat=0.3, reconnect=Backoff(0.05, 0.3), resend_after=0.5),
    )
    await outbox.__aenter__()
    listening = asyncio.create_task(hub.run(url))
    await asyncio.wait_for(hub.up.wait(), WITHIN)
    linking = asyncio.create_task(link.run())
    try:
        yield hub, outbox, link
    finally:
        linking.cancel()
        await asyncio.gather(linking, return_exceptions=True)
        await asyncio.sleep(0.1)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


def body(index: int) -> Telemetry | Event:
    return Event("e", "info") if index % 3 == 0 else Telemetry([Group([0], [Channel("a", [index])])])


async def test_messages_commands_and_presence_pass_a_real_broker(mosquitto: str) -> None:
    commands: list[Command] = []
    async with wired(mosquitto, commands) as (hub, outbox, _):
        for index in range(500):
            await outbox.put(body(index))
        await asyncio.wait_for(outbox.drained(), WITHIN)
        assert hub.seqs == set(range(1, 501))
        await eventually(lambda: ("online", "heartbeat", False) in hub.presence, "a heartbeat")
        parts = urlsplit(mosquitto)
        async with aiomqtt.Client(parts.hostname or "", parts.port or 0) as client:
            command = Command("c1", "goto", 10**15, {"x": 1})
            await client.publish(topics.down("r1", "command"), encode(Envelope("r1", 1, command)), qos=1)
            await eventually(lambda: commands == [command], "the command arrives")
    assert [p[:2] for p in hub.presence if p[1] != "heartbeat"] == [("online", "connected"), ("offline", "stopped")]


async def test_broker_that_is_killed_and_comes_back_loses_nothing(tmp_path: Path) -> None:
    port = free_port()
    config = tmp_path / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")

    def start() -> Running:
        return Running(["/usr/sbin/mosquitto", "-v", "-c", str(config)], tmp_path, "mosquitto")

    broker = start()
    await asyncio.to_thread(wait_until, lambda: "running" in broker.output(), "Mosquitto runs")
    try:
        async with wired(f"mqtt://127.0.0.1:{port}") as (hub, outbox, link):
            await eventually(lambda: link.connected, "connected")
            for index in range(400):
                await outbox.put(body(index))
                if index == 200:
                    broker.kill()
                    await eventually(lambda: not link.connected, "the loss is noticed")
                    broker = start()
            await asyncio.wait_for(outbox.drained(), WITHIN)
            assert hub.seqs == set(range(1, 401))
    finally:
        broker.stop()


async def test_robot_that_is_killed_leaves_its_last_will_as_retained_presence(mosquitto: str, tmp_path: Path) -> None:
    settings = {"robot": "r1", "link": {"url": mosquitto}, "drivers": {"sim": {}}}
    (tmp_path / "robot.yaml").write_text(json.dumps(settings))
    hub = Hub()
    listening = asyncio.create_task(hub.run(mosquitto))
    await asyncio.wait_for(hub.up.wait(), WITHIN)
    edge = Running([sys.executable, "-m", "botyard_edge.cli", "run", "robot.yaml"], tmp_path, "edge")
    try:
        await eventually(lambda: hub.presence and len(hub.seqs) > 3, "the robot is online")
        edge.kill()
        await eventually(lambda: hub.presence[-1][:2] == ("offline", "last_will"), "the last will")
        parts = urlsplit(mosquitto)
        async with aiomqtt.Client(parts.hostname or "", parts.port or 0) as late:
            await late.subscribe(topics.presence("r1"))
            message = await anext(aiter(late.messages))
            assert message.retain
            assert isinstance(message.payload, bytes)
            left = decode(message.payload).body
            assert isinstance(left, Presence)
            assert (left.status, left.reason) == ("offline", "last_will")
    finally:
        edge.kill()
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_connection_that_is_refused_is_one_sentence() -> None:
    transport = MqttTransport("r1", f"mqtt://127.0.0.1:{free_port()}")
    with pytest.raises(TransportError, match="Connection refused"):
        async with transport.session(Will("t", b"")):
            pass
