import asyncio
import itertools
import logging
import random
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_edge.bus import Bus
from botyard_edge.link import Link, LinkSettings
from botyard_edge.memory import MemoryOutbox
from botyard_edge.mqtt import client_id
from botyard_edge.node import Backoff
from botyard_edge.testing import HubModel, MemoryBroker, VirtualClock
from botyard_schemas import Ack, Channel, Command, Envelope, Event, Group, Telemetry, encode, topics


class Wire:
    """A link between an outbox and a hub model, over a broker in memory."""

    def __init__(self, seed: int = 1, **kwargs: Any) -> None:
        self.clock = VirtualClock()
        self.broker = MemoryBroker()
        self.hub = HubModel(self.broker, clock=self.clock)
        rng = random.Random(seed)
        self.outbox = MemoryOutbox("r1", clock=self.clock, rng=rng)
        self.commands: list[Command] = []
        self.bus = Bus()
        self.link = Link(
            "r1",
            self.broker.transport("r1"),
            self.outbox,
            clock=self.clock,
            rng=rng,
            on_command=self.commands.append,
            bus=self.bus,
            settings=LinkSettings(reconnect=Backoff(0.5, 8.0), **kwargs),
        )

    async def __aenter__(self) -> Self:
        await self.outbox.__aenter__()
        self.task = asyncio.create_task(self.link.run())
        await self.clock.advance(0.01)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def put(self, count: int) -> None:
        for index in range(count):
            body = Event("e", "info") if index % 7 == 3 else Telemetry([Group([0], [Channel("a", [index])])])
            await self.outbox.put(body)

    @property
    def seqs(self) -> list[int]:
        return sorted(seq for _, _, seq in self.hub.messages)


FAULTS = st.lists(st.sampled_from(["put", "cut", "down", "up", "silent", "speak", "wait", "long"]), max_size=25)


@settings(max_examples=60)
@given(FAULTS, st.integers(0, 1000), st.floats(0, 0.8), st.floats(0, 0.8))
def test_link_brings_every_message_to_the_hub_through_losses_cuts_and_silence(
    faults: list[str], seed: int, loss: float, ack_loss: float
) -> None:
    asyncio.run(_through_faults(faults, seed, loss, ack_loss))


async def _through_faults(faults: list[str], seed: int, loss: float, ack_loss: float) -> None:
    dice = random.Random(seed)
    async with Wire(seed, window=8, resend_after=2.0) as wire:
        wire.broker.loses = lambda _: dice.random() < loss
        wire.hub.loses_ack = lambda: dice.random() < ack_loss
        for fault in faults:
            if fault == "put":
                await wire.put(10)
            elif fault in ("cut", "down"):
                wire.broker.cut(down=fault == "down")
            elif fault == "up":
                wire.broker.down = False
            elif fault in ("silent", "speak"):
                wire.hub.acknowledges = fault == "speak"
            await wire.clock.advance({"wait": 3.0, "long": 90.0}.get(fault, 0.2))
        made = wire.outbox._next - 1
        wire.broker.down = False
        wire.hub.acknowledges = True
        await wire.clock.advance_until(lambda: wire.outbox.backlog == 0, limit=20_000, step=1.0)
        assert wire.seqs == list(range(1, made + 1))


async def test_link_without_losses_sends_each_message_once_in_order() -> None:
    async with Wire() as wire:
        await wire.put(300)
        await wire.clock.advance(0.1)
        assert wire.hub.copies == 0
        ups = [m for m in wire.broker.log if "/up/" in m.topic]
        assert len(ups) == 300
        assert wire.seqs == list(range(1, 301))
        assert {m.qos for m in ups if m.topic == topics.up("r1", "event")} == {1}
        await wire.clock.advance(120)
        assert wire.hub.copies == 0


async def test_link_never_has_more_than_a_window_of_messages_on_the_way() -> None:
    async with Wire(window=5, resend_after=1000.0) as wire:
        wire.hub.acknowledges = False
        await wire.put(50)
        await wire.clock.advance(60)
        assert wire.seqs == [1, 2, 3, 49, 50], "the oldest, which bring the hub forward, and the newest"


async def test_link_with_a_silent_hub_repeats_at_growing_distances() -> None:
    async with Wire(resend_after=5.0) as wire:
        wire.hub.acknowledges = False
        await wire.outbox.put(Event("e", "info"))
        await wire.clock.advance(3600)
        copies = wire.hub.copies + 1
        assert 3600 / 40 <= copies <= 3600 / 40 + 6


async def test_link_after_a_reconnect_sends_what_is_not_acknowledged_again_at_once() -> None:
    async with Wire(resend_after=1000.0) as wire:
        wire.broker.loses = lambda _: True
        await wire.put(3)
        await wire.clock.advance(1)
        wire.broker.loses = lambda _: False
        assert wire.seqs == []
        wire.broker.cut()
        await wire.clock.advance(2)
        assert wire.seqs == [1, 2, 3]


async def test_presence_says_connected_heartbeat_last_will_and_stopped() -> None:
    async with Wire(heartbeat=5.0) as wire:
        await wire.clock.advance(11)
        wire.broker.cut()
        await wire.clock.advance(2)
    said = [(p.status, p.reason) for p in wire.hub.presence] if wire.hub.presence else []
    presences = [m for m in wire.broker.log if m.topic == topics.presence("r1")]
    assert all(m.retain for m in presences)
    assert said == [
        ("online", "connected"),
        ("online", "heartbeat"),
        ("online", "heartbeat"),
        ("offline", "last_will"),
        ("online", "connected"),
        ("offline", "stopped"),
    ]
    first, last_will, second = (wire.hub.presence[i].session for i in (0, 3, 4))
    assert first == last_will != second


async def test_outage_is_logged_once_and_its_end_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "botyard_edge.link")
    async with Wire() as wire:
        wire.broker.cut(down=True)
        await wire.clock.advance(300)
        wire.broker.down = False
        await wire.clock.advance(30)
        assert wire.bus.latest("link/connected") is True
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        "connected to memory",
        "no connection to memory",
        lines[2],
    ]
    assert lines[2].startswith("connected to memory again after 30")


async def test_attempts_to_connect_grow_apart_to_the_longest_pause() -> None:
    async with Wire() as wire:
        attempts: list[float] = []
        session = wire.broker.transport("r1").session

        class Watched:
            address = "watched"

            def session(self, will: Any) -> Any:
                attempts.append(wire.clock.monotonic())
                return session(will)

        wire.link._transports = (Watched(),)
        wire.broker.cut(down=True)
        await wire.clock.advance(120)
        pauses = [b - a for a, b in itertools.pairwise(attempts)]
        assert all(4.0 <= pause <= 8.0 for pause in pauses[4:])
        assert pauses[0] < 2.0
        assert len(set(pauses)) == len(pauses), "there is jitter in every pause"


async def test_rubbish_from_the_hub_is_ignored_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    async with Wire() as wire:
        for _ in range(3):
            wire.broker.publish(topics.down("r1", "ack"), b"{")
            ack = encode(Envelope("other", wire.clock.now(), Ack("e", 1)))
            wire.broker.publish(topics.down("r1", "ack"), ack)
            wire.broker.publish(topics.down("r1", "time"), b"{}")
        command = Command("c1", "goto", wire.clock.now() + 10)
        wire.hub.command("r1", command)
        await wire.clock.advance(1)
        assert wire.commands == [command]
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 3
    assert "not JSON" in warnings[0]
    assert "is for 'other'" in warnings[1]
    assert "down/time" in warnings[2]


def test_client_id_holds_only_what_every_broker_takes() -> None:
    assert client_id("picker-7") == "botyard-picker-7"
    assert client_id("a.b c*>") == "botyard-a-b-c--"


async def test_link_whose_oldest_message_never_arrives_repeats_at_growing_distances() -> None:
    async with Wire(resend_after=5.0) as wire:
        wire.broker.loses = lambda message: b'"seq":1,' in message.payload
        await wire.put(1)
        await wire.outbox.put(Telemetry([Group([0], [Channel("a", [1])])]))
        await wire.clock.advance(3600)
        assert wire.seqs == [2]
        # The hub answers each copy of the second message, but nothing gets done by that.
        assert wire.hub.copies <= 3600 / 40 + 6
