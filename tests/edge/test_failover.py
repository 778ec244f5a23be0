"""A link with several transports, on virtual time: two brokers in memory that lead to the same hub."""

import asyncio
import logging
import random
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_edge.bus import Bus
from botyard_edge.hubtime import HubClock
from botyard_edge.link import PATIENCE, Link, LinkSettings
from botyard_edge.memory import MemoryOutbox
from botyard_edge.node import Backoff
from botyard_edge.testing import HubModel, MemoryBroker, MemoryTransport, VirtualClock
from botyard_edge.transport import TransportError, Will
from botyard_schemas import Event, Presence, decode, topics
from botyard_schemas.messages import SEQUENCED


class Named(MemoryTransport):
    """A way with a name, for the log."""

    @property
    def address(self) -> str:
        return self.name


class Ways:
    """A link that prefers the way `first` to the way `second`."""

    def __init__(self, seed: int = 1, **options: Any) -> None:
        self.clock = VirtualClock()
        self.brokers = {name: MemoryBroker() for name in ("first", "second")}
        self.hubs = {name: HubModel(broker, clock=self.clock) for name, broker in self.brokers.items()}
        self.presence: list[tuple[str, Presence]] = []
        for name, broker in self.brokers.items():
            broker.listeners.append(lambda message, name=name: self._note(name, message))  # type: ignore[misc]
        # One hub, over whichever way: it knows what it was told over the other.
        one, other = self.hubs.values()
        other.messages, other._settled, other._reached = one.messages, one._settled, one._reached
        rng = random.Random(seed)
        hub_time = HubClock(self.clock)
        self.outbox = MemoryOutbox("r1", clock=hub_time, rng=rng)
        self.bus = Bus()
        self.link = Link(
            "r1",
            [Named(broker, name) for name, broker in self.brokers.items()],
            self.outbox,
            clock=hub_time,
            rng=rng,
            on_command=lambda _: None,
            bus=self.bus,
            settings=LinkSettings(reconnect=Backoff(0.5, 8.0), **options),
            hub_time=hub_time,
        )

    async def __aenter__(self) -> Self:
        await self.outbox.__aenter__()
        self.task = asyncio.create_task(self.link.run())
        await self.clock.advance(0.1)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.task.cancel()
        await self.clock.advance_until(self.task.done)
        await asyncio.gather(self.task, return_exceptions=True)

    def _note(self, name: str, message: Any) -> None:
        if message.topic == topics.presence("r1"):
            body = decode(message.payload).body
            assert isinstance(body, Presence)
            self.presence.append((name, body))

    async def put(self, count: int) -> None:
        for _ in range(count):
            await self.outbox.put(Event("e", "info"))

    @property
    def way(self) -> str:
        """Over which way the robot is connected, alone."""
        return "+".join(name for name, broker in self.brokers.items() if broker.sessions)

    def sent(self, name: str) -> int:
        return sum(1 for m in self.brokers[name].log if "/up/" in m.topic and decode(m.payload).type in SEQUENCED)

    @property
    def seqs(self) -> list[int]:
        return sorted(seq for _, _, seq in self.hubs["first"].messages)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [r.getMessage() for r in caplog.records if r.name == "botyard_edge.link" and r.levelno >= logging.INFO]
    return [line.split(":")[0].split(" again after")[0] for line in lines]


async def test_link_takes_the_first_transport_that_can_be_reached() -> None:
    async with Ways() as ways:
        assert ways.way == "first"
    ways = Ways()
    ways.brokers["first"].cut(down=True)
    async with ways:
        assert ways.way == "second"


async def test_link_fails_over_and_comes_back_and_says_each_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "botyard_edge.link")
    async with Ways(return_after=10.0) as ways:
        await ways.put(20)
        await ways.clock.advance(1)
        ways.brokers["first"].cut(down=True)
        await ways.clock.advance(2)
        assert ways.way == "second"
        await ways.put(20)
        await ways.clock.advance(300)  # many looks whether the first works again
        ways.brokers["first"].down = False
        await ways.clock.advance(20)
        assert ways.way == "first"
        await ways.put(20)
        await ways.clock.advance(1)
        assert ways.outbox.backlog == 0
        assert ways.seqs == list(range(1, 61))
        assert ways.sent("second") == 20
        assert ways.bus.latest("link/connected") is True
    assert said(caplog) == ["connected to first", "no connection to first", "connected to second", "connected to first"]


async def test_link_stays_where_it_is_while_the_hub_does_not_answer_over_the_better_transport() -> None:
    async with Ways(return_after=10.0) as ways:
        ways.hubs["first"].acknowledges = False
        ways.brokers["first"].cut(down=True)
        await ways.clock.advance(2)
        ways.brokers["first"].down = False
        await ways.clock.advance(300)
        await ways.put(3)
        await ways.clock.advance(30)
        assert ways.outbox.backlog == 0
        assert "second" in ways.way
        ways.hubs["first"].acknowledges = True
        await ways.clock.advance(30)
        assert ways.way == "first"


async def test_link_leaves_a_transport_over_which_the_hub_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "botyard_edge.link")
    async with Ways() as ways:
        ways.hubs["first"].acknowledges = False
        await ways.put(3)
        await ways.clock.advance(1.5 * PATIENCE)
        assert ways.way == "second"
        assert ways.outbox.backlog == 0
    assert said(caplog) == ["connected to first", "no connection to first", "connected to second"]


async def test_link_with_a_hub_that_is_silent_everywhere_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "botyard_edge.link")
    async with Ways() as ways:
        for hub in ways.hubs.values():
            hub.acknowledges = False
        await ways.clock.advance(3600)
        for hub in ways.hubs.values():
            hub.acknowledges = True
        await ways.put(1)
        await ways.clock.advance(2 * PATIENCE)
        assert ways.outbox.backlog == 0
    assert said(caplog)[:3] == ["connected to first", "no connection to first", "no connection to second"]
    assert len(said(caplog)) <= 5


async def test_move_announces_itself_before_the_old_connection_ends_and_says_no_goodbye() -> None:
    async with Ways(return_after=10.0, heartbeat=1.0) as ways:
        ways.brokers["first"].cut(down=True)
        await ways.clock.advance(2)
        ways.presence.clear()
        ways.brokers["first"].down = False
        await ways.clock.advance(20)
        assert ways.way == "first"
        assert {body.status for _, body in ways.presence} == {"online"}
        order = [name for name, _ in ways.presence]
        assert order == sorted(order, reverse=True), "nothing is said over the old way once the new one is announced"
        ways.presence.clear()
    assert [(name, body.reason) for name, body in ways.presence] == [("first", "stopped")]


async def test_transport_that_hangs_is_passed_over_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    ways = Ways(connect_within=20.0)

    class Hanging:
        address = "hanging"

        def session(self, will: Will) -> Any:
            return self

        async def __aenter__(self) -> Any:
            await ways.clock.sleep(10**6)

        async def __aexit__(self, *exc: object) -> None: ...

    ways.link._transports = (Hanging(), ways.link._transports[1])
    async with ways:
        await ways.clock.advance(19)
        assert ways.way == ""
        await ways.clock.advance(2)
        assert ways.way == "second"


async def test_transport_that_keeps_failing_soon_is_returned_to_more_rarely() -> None:
    async with Ways(return_after=10.0) as ways:
        for _ in range(400):
            if ways.way == "first":
                ways.brokers["first"].cut(down=True)
                await ways.clock.advance(3)
                ways.brokers["first"].down = False
            await ways.clock.advance(10)
        sessions = {body.session for name, body in ways.presence if name == "first" and body.status == "online"}
        assert 10 < len(sessions) < 40, "instead of four hundred times"


FAULTS = st.lists(
    st.tuples(
        st.sampled_from(["cut", "down", "up", "mute", "speak", "put", "wait"]), st.sampled_from(["first", "second"])
    ),
    max_size=30,
)


@settings(max_examples=40)
@given(FAULTS, st.integers(0, 1000), st.floats(0, 0.5))
def test_messages_over_two_ways_with_faults_all_arrive(faults: list[tuple[str, str]], seed: int, loss: float) -> None:
    asyncio.run(_through_faults(faults, seed, loss))


async def _through_faults(faults: list[tuple[str, str]], seed: int, loss: float) -> None:
    dice = random.Random(seed)
    async with Ways(seed, return_after=5.0, window=8, resend_after=2.0) as ways:
        for broker in ways.brokers.values():
            broker.loses = lambda _: dice.random() < loss
        for fault, name in faults:
            broker = ways.brokers[name]
            if fault in ("cut", "down"):
                broker.cut(down=fault == "down")
            elif fault == "up":
                broker.down = False
            elif fault in ("mute", "speak"):
                ways.hubs[name].acknowledges = fault == "speak"
            elif fault == "put":
                await ways.put(7)
            await ways.clock.advance(dice.choice([0.1, 1.0, 7.0, 70.0]) if fault == "wait" else 0.3)
        made = ways.outbox._next - 1
        for name, broker in ways.brokers.items():
            broker.down = False
            ways.hubs[name].acknowledges = True
        await ways.clock.advance_until(lambda: ways.outbox.backlog == 0, limit=20_000, step=1.0)
        assert ways.seqs == list(range(1, made + 1))
        await ways.clock.advance_until(lambda: ways.way == "first", limit=20_000, step=1.0)


async def test_link_that_is_stopped_while_it_connects_ends_at_once() -> None:
    ways = Ways()
    for broker in ways.brokers.values():
        broker.cut(down=True)
    async with ways:
        await ways.clock.advance(5)
        assert ways.way == ""
        with pytest.raises(TransportError):
            async with ways.link._transports[0].session(Will("t", b"")):
                pass
