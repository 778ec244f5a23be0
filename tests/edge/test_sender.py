import asyncio
import itertools
import random
from typing import Any, Self

from botyard_edge.memory import MemoryOutbox
from botyard_edge.notices import DROPPED
from botyard_edge.outbox import LIMITS, Limits
from botyard_edge.pace import Pace
from botyard_edge.ranges import Span, joined
from botyard_edge.sender import AHEAD, SCATTERED, Sender
from botyard_edge.testing import VirtualClock, settle
from botyard_schemas import Channel, Envelope, Event, Group, State, Telemetry, decode

STATE = State("auto", "ok")


class Hub:
    """A session that notes when what arrives, and a hub that answers each message after `delay` seconds."""

    def __init__(self, *, backlog: int = 0, limits: Limits = LIMITS, delay: float = 0.05, **settings: Any) -> None:
        self.clock = VirtualClock()
        self.outbox = MemoryOutbox("r1", clock=self.clock, rng=random.Random(1), limits=limits)
        self.arrived: list[tuple[float, Envelope]] = []
        self.settled: set[int] = set()
        self.silent = False
        self.names = True
        self.lost: set[int] = set()
        self._backlog = backlog
        self._delay = delay
        self._known = 0
        defaults: dict[str, Any] = {"window": 64, "resend_after": 5.0, "pace": Pace(50.0, 10)}
        self.sender = Sender("r1", self.outbox, clock=self.clock, **(defaults | settings))

    async def __aenter__(self) -> Self:
        await self.outbox.__aenter__()
        for value in range(self._backlog):
            await self.outbox.put(Telemetry([Group([0], [Channel("a", [value])])]))
        self._tasks = [asyncio.create_task(self.sender.run(self))]  # type: ignore[arg-type]
        self._tasks.append(asyncio.create_task(self._answer()))
        await settle()  # the session begins with this backlog
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def publish(self, topic: str, payload: bytes, *, qos: int, **_: Any) -> None:
        envelope = decode(payload)
        if envelope.seq in self.lost:
            return
        self.arrived.append((self.clock.monotonic(), envelope))
        self.settled.add(envelope.seq)
        if isinstance(envelope.body, Event) and envelope.body.name == DROPPED:
            for first, last in envelope.body.data["ranges"]:
                self.settled.update(range(first, last + 1))

    async def _answer(self) -> None:
        heard = 0
        while True:
            await self.clock.sleep(self._delay)
            if self.silent or len(self.arrived) == heard:
                continue
            heard = len(self.arrived)
            while self._known + 1 in self.settled:
                self._known += 1
            before = self.outbox.acknowledged
            self.outbox.ack(self.outbox.epoch, self._known)
            self.sender.heard(self.islands[:SCATTERED] if self.names else (), progress=self._known > before)

    @property
    def islands(self) -> list[Span]:
        """Separate ranges beyond what is complete."""
        return joined((seq, seq) for seq in self.settled if seq > self._known)

    def copies(self) -> int:
        """Messages that arrived more than once."""
        return len(self.arrived) - len({envelope.seq for _, envelope in self.arrived})


async def test_live_state_overtakes_a_long_backlog_and_the_backlog_keeps_its_pace() -> None:
    async with Hub(backlog=2000) as hub:
        made: dict[int, float] = {}
        for _ in range(40):
            made[await hub.outbox.put(STATE)] = hub.clock.monotonic()
            await hub.clock.advance(0.5)
        first: dict[int, float] = {}
        for at, envelope in hub.arrived:
            first.setdefault(envelope.seq, at)
        assert all(first[seq] - at < 0.05 for seq, at in made.items())
        old = [seq for seq in first if seq <= 2000]
        assert 20 * 50 * 0.9 <= len(old) <= 20 * 50 + 10
        assert old == list(range(1, len(old) + 1))
        assert hub.outbox.backlog == 2000 + 40 - hub.outbox.acknowledged
        await hub.clock.advance(40)
        assert hub.outbox.backlog == 0
        assert len(hub.arrived) == 2040, "what was sent ahead is not sent again"


async def test_live_data_arrive_at_once_however_long_the_backlog_takes() -> None:
    async with Hub(backlog=10_000, window=512) as hub:
        made: dict[int, float] = {}
        for value in range(1500):  # a hundred and fifty seconds: more than may be under way without a word of the hub
            seq = await hub.outbox.put(Telemetry([Group([0], [Channel("a", [value])])]))
            made[seq] = hub.clock.monotonic()
            await hub.clock.advance(0.1)
        first: dict[int, float] = {}
        for at, envelope in hub.arrived:
            first.setdefault(envelope.seq, at)
        assert hub.outbox.acknowledged < 10_000, "the backlog is not drained yet"
        assert max(first[seq] - at for seq, at in made.items()) < 0.05
        assert len(hub.sender._sent) <= 512 + AHEAD, "what the hub has is not remembered one by one"
        await hub.clock.advance(100)
        assert hub.outbox.backlog == 0
        assert hub.copies() == 0, "what was sent ahead is not sent again"


async def test_live_data_of_a_hub_that_names_no_ranges_become_sparse() -> None:
    async with Hub(backlog=10_000) as hub:
        hub.names = False
        for value in range(1500):
            await hub.outbox.put(Telemetry([Group([0], [Channel("a", [value])])]))
            await hub.clock.advance(0.1)
        assert sum(envelope.seq > 10_000 for _, envelope in hub.arrived) <= AHEAD


async def test_live_data_of_which_every_other_is_lost_scatter_over_few_ranges_only() -> None:
    async with Hub(backlog=10_000) as hub:
        for value in range(1000):
            seq = await hub.outbox.put(Telemetry([Group([0], [Channel("a", [value])])]))
            hub.lost.update({seq} if value % 2 else ())
            await hub.clock.advance(0.1)
        assert SCATTERED // 2 < len(hub.islands) <= SCATTERED + 1, "the hub has to keep account of each"


async def test_what_the_hub_had_and_has_no_more_is_sent_again() -> None:
    async with Hub(backlog=2000) as hub:
        for _ in range(20):
            await hub.outbox.put(STATE)
            await hub.clock.advance(0.5)
        hub.settled = {seq for seq in hub.settled if seq <= 2000}  # it crashed, and took back what it had named
        await hub.clock.advance(100)
        assert hub.outbox.backlog == 0
        assert hub.copies() == 20


async def test_messages_made_while_connected_are_not_held_to_the_pace_of_a_backlog() -> None:
    async with Hub() as hub:
        for value in range(3000):
            await hub.outbox.put(Telemetry([Group([0], [Channel("a", [value])])]))
        await hub.clock.advance(10)
        assert hub.outbox.backlog == 0


async def test_what_gathers_while_the_hub_is_silent_is_a_backlog() -> None:
    async with Hub() as hub:
        hub.silent = True
        for _ in range(1000):
            await hub.outbox.put(STATE)
            await hub.clock.advance(0.1)
        hub.silent = False
        begun = len(hub.arrived)
        await hub.clock.advance(10)
        assert len(hub.arrived) - begun <= 50 * 10 + 200
        await hub.clock.advance(30)
        assert hub.outbox.backlog == 0


async def test_silent_hub_gets_no_more_than_a_window_and_its_repetitions() -> None:
    async with Hub(backlog=100, window=20) as hub:
        hub.silent = True
        for _ in range(100):
            await hub.outbox.put(STATE)
            await hub.clock.advance(0.1)
        assert len({envelope.seq for _, envelope in hub.arrived}) <= 20


async def test_notice_goes_out_before_what_follows_its_gap_however_long_the_backlog() -> None:
    async with Hub(backlog=3000, limits=Limits(messages=1000), window=16) as hub:
        assert hub.outbox.dropped >= 2000
        await hub.clock.advance(120)
        assert hub.outbox.backlog == 0
        assert hub._known == hub.outbox.head


async def test_notice_that_is_lost_is_repeated() -> None:
    async with Hub(backlog=50, limits=Limits(messages=100), window=16) as hub:
        for _ in range(60):  # the notice tells of what was before these, and is far behind them
            await hub.outbox.put(STATE)
        for value in range(30):
            await hub.outbox.put(Telemetry([Group([0], [Channel("a", [value])])]))
        assert hub.outbox.dropped > 0
        lost = hub.publish

        async def lossy(topic: str, payload: bytes, **more: Any) -> None:
            if hub.clock.monotonic() > 3 or DROPPED.encode() not in payload:
                await lost(topic, payload, **more)

        hub.publish = lossy  # type: ignore[method-assign]
        await hub.clock.advance(60)
        assert hub.outbox.backlog == 0


async def test_backlog_of_an_hour_keeps_the_state_visible_and_the_hubs_account_small() -> None:
    async with Hub(backlog=20_000, pace=Pace(10.0, 10)) as hub:
        dice = random.Random(5)
        take = hub.publish

        async def lossy(topic: str, payload: bytes, *, qos: int, **more: Any) -> None:
            if qos or dice.random() > 0.3:
                await take(topic, payload, qos=qos, **more)

        hub.publish = lossy  # type: ignore[method-assign]
        states: list[float] = []
        most = 0
        for second in range(900):
            await hub.outbox.put(STATE)
            await hub.outbox.put(Telemetry([Group([0], [Channel("a", [second])])]))
            await hub.clock.advance(1)
            most = max(most, len(hub.islands))
        states = [at for at, envelope in hub.arrived if envelope.type == "state" and envelope.seq > 20_000]
        assert all(later - earlier <= 11 for earlier, later in itertools.pairwise(states))
        assert states[-1] > 890
        assert most <= AHEAD + 64
