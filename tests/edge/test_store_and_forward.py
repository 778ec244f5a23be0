"""Outbox and link together, against a hub that keeps account, through everything that may go wrong."""

import asyncio
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from botyard_edge.blocking import Inline
from botyard_edge.bus import Bus
from botyard_edge.durable import SqliteOutbox
from botyard_edge.link import Link, LinkSettings
from botyard_edge.node import Backoff
from botyard_edge.notices import DROPPED
from botyard_edge.outbox import Limits
from botyard_edge.pace import Pace
from botyard_edge.testing import MemoryBroker, Published, VirtualClock, settle
from botyard_schemas import Ack, Channel, Envelope, Event, Group, State, Telemetry, decode, encode, topics
from botyard_schemas.messages import Body

from .conftest import kill_without_warning

BODIES: dict[str, Body] = {
    "telemetry": Telemetry([Group([0], [Channel("a", [1.0])])]),
    "more": Telemetry([Group([0], [Channel("b", [2.0]), Channel("c", [3.0])])]),
    "state": State("auto", "ok"),
    "event": Event("e", "info"),
}


class Hub:
    """Commits in batches and acknowledges what is committed, as the real one does. A crash forgets what is not."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self.up = True
        self.committed: dict[tuple[str, int], bytes] = {}
        self.given_up: dict[str, set[int]] = {}
        self._known: dict[str, int] = {}
        self._open: dict[tuple[str, int], bytes] = {}
        self._touched: set[str] = set()
        self._acks: list[Ack] = []
        broker.listeners.append(self._take)

    def _take(self, message: Published) -> None:
        address = topics.parse(message.topic)
        if not self.up or address is None or address.direction != "up" or address.type in ("presence", "time"):
            return
        envelope = decode(message.payload)
        key = (envelope.epoch, envelope.seq)
        self._touched.add(envelope.epoch)  # what comes twice is acknowledged twice: the first time may have been lost
        before = self.committed.get(key, self._open.get(key))
        if before is None and envelope.seq not in self.given_up.get(envelope.epoch, ()):
            self._open[key] = message.payload
        assert before is None or before == message.payload, "a number was given to two messages"

    def commit(self) -> None:
        """Commit what came since the last time, and acknowledge."""
        if not self.up:
            return
        for (epoch, seq), payload in self._open.items():
            self.committed[epoch, seq] = payload
            body = decode(payload).body
            if isinstance(body, Event) and body.name == DROPPED:
                spans = body.data["ranges"]
                self.given_up.setdefault(epoch, set()).update(s for a, b in spans for s in range(a, b + 1))
        for epoch in sorted(self._touched):
            self._acks.append(Ack(epoch, self.position(epoch)))
        self._open.clear()
        self._touched.clear()
        for ack in self._acks:
            self._broker.publish(topics.down("r1", "ack"), encode(Envelope("r1", 1, ack)))
        self._acks = self._acks[-1:]  # acknowledgements may come twice, and late

    def crash(self) -> None:
        """Forget what is not committed."""
        self.up = False
        self._open.clear()
        self._touched.clear()
        self._acks.clear()

    def position(self, epoch: str) -> int:
        """How far the epoch is complete."""
        known = self._known.get(epoch, 0)
        given_up = self.given_up.get(epoch, set())
        while (epoch, known + 1) in self.committed or known + 1 in given_up:
            known += 1
        self._known[epoch] = known
        return known


class StoreAndForward(RuleBasedStateMachine):
    """Whatever happens, every number ever issued is at the hub exactly once or named by `outbox.dropped`."""

    @initialize(seed=st.integers(0, 1000), loss=st.floats(0, 0.6), each=st.booleans())
    def begin(self, seed: int, loss: float, each: bool) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        self.dice = random.Random(seed)
        self.loss = loss
        self.broker = MemoryBroker(loses=lambda _: self.dice.random() < self.loss)
        self.hub = Hub(self.broker)
        self.lives = 0
        self.issued: dict[tuple[str, int], str] = {}
        self.forgotten: set[tuple[str, int]] = set()
        self.path = self.folder / "r1.db"
        self.loop.run_until_complete(self._start())

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self._deliver_everything()
            self.loop.run_until_complete(self._stop())
            self.loop.close()
            shutil.rmtree(self.folder)

    @rule(kinds=st.lists(st.sampled_from(sorted(BODIES)), min_size=1, max_size=30))
    def put(self, kinds: list[str]) -> None:
        async def put_all() -> None:
            for kind in kinds:
                seq = await self.outbox.put(BODIES[kind])
                key = (self.outbox.epoch, seq)
                assert key not in self.issued, "a number was issued twice"
                self.issued[key] = kind

        self.loop.run_until_complete(put_all())

    @rule(seconds=st.sampled_from([0.01, 0.3, 1.0, 5.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.loop.run_until_complete(self._advance(seconds))

    @rule()
    def cut_the_network(self) -> None:
        self.broker.cut(down=True)
        self.loop.run_until_complete(settle())

    @rule()
    def mend_the_network(self) -> None:
        self.broker.down = False

    @rule()
    def send_old_messages_again(self) -> None:
        ups = [message for message in self.broker.log if "/up/" in message.topic]
        for message in self.dice.sample(ups, min(len(ups), 5)):
            for listener in self.broker.listeners:
                listener(message)

    @rule()
    def crash_the_hub(self) -> None:
        self.hub.crash()

    @rule()
    def start_the_hub(self) -> None:
        self.hub.up = True

    @rule()
    def restart_the_edge(self) -> None:
        self.loop.run_until_complete(self._stop())
        self.loop.run_until_complete(self._start())

    @rule()
    def cut_the_power(self) -> None:
        self.lives += 1
        after = self.folder / str(self.lives)
        kill_without_warning(self.path, after)
        # What was in memory only is gone, unless the hub has it: that is what a power cut may cost.
        unwritten = {(self.outbox.epoch, entry.seq) for entry in self.outbox._unwritten}
        self.forgotten |= unwritten
        self.loop.run_until_complete(self._stop())
        self.path = after / "r1.db"
        self.loop.run_until_complete(self._start())

    @invariant()
    def backlog_is_what_waits(self) -> None:
        if hasattr(self, "outbox"):
            waiting = self.loop.run_until_complete(self.outbox.read(0, 10_000))
            # What was given up can still be read until the next write; sending it does no harm.
            assert len(waiting) >= self.outbox.backlog
            assert [e.seq for e in waiting] == sorted({e.seq for e in waiting})

    def _deliver_everything(self) -> None:
        self.broker.down, self.hub.up, self.loss = False, True, 0.0
        for _ in range(600):
            self.loop.run_until_complete(self._advance(1.0))
            if not self.outbox.backlog:
                break
        assert self.outbox.backlog == 0
        assert self.hub.position(self.outbox.epoch) == self.outbox.head, "the hub waits for nothing"
        missing = {key for key in self.issued if key not in self.hub.committed}
        assert all(seq in self.hub.given_up[epoch] for epoch, seq in missing)
        kinds = {key: decode(payload).type for key, payload in self.hub.committed.items()}
        assert all(kinds[key] == BODY_TYPES[kind] for key, kind in self.issued.items() if key in kinds)

    async def _advance(self, seconds: float) -> None:
        while seconds > 0:
            await self.clock.advance(min(seconds, 0.2))
            self.hub.commit()
            await settle()
            seconds -= 0.2

    async def _start(self) -> None:
        rng = random.Random(self.dice.random())
        limits = Limits(messages=20, thin=5.0)
        self.outbox = SqliteOutbox("r1", self.path, clock=self.clock, rng=rng, limits=limits, elsewhere=Inline())
        pace = LinkSettings(
            reconnect=Backoff(0.5, 4.0), window=8, resend_after=2.0, backlog=Pace(20.0, 8), time_period=600.0
        )
        await self.outbox.__aenter__()
        self.link = Link(
            "r1",
            self.broker.transport("r1"),
            self.outbox,
            clock=self.clock,
            rng=rng,
            on_command=lambda _: None,
            bus=Bus(),
            settings=pace,
        )
        self.task = asyncio.create_task(self.link.run())
        await settle()

    async def _stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.outbox.__aexit__(None, None, None)


BODY_TYPES: dict[str, Any] = {"telemetry": "telemetry", "more": "telemetry", "state": "state", "event": "event"}

# Shrinking a failure takes minutes here, which a test run does not have: the seed that is printed repeats it.
StoreAndForward.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate]
)
TestStoreAndForward = StoreAndForward.TestCase
