import asyncio
import random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from botyard_edge.memory import MemoryOutbox
from botyard_edge.notices import DROPPED
from botyard_edge.outbox import Entry, Limits, TooLargeError, new_epoch
from botyard_edge.testing import VirtualClock, settle
from botyard_schemas import Channel, Event, Group, State, Telemetry, decode

EPOCH_LENGTH = 32


def telemetry(size: int = 1) -> Telemetry:
    return Telemetry([Group([0], [Channel("t", ["x" * size], "text")])])


STATE = State("auto", "ok")


async def opened(**limits: Any) -> MemoryOutbox:
    outbox = MemoryOutbox("r1", clock=VirtualClock(), rng=random.Random(1), limits=Limits(**limits))
    return await outbox.__aenter__()


async def pending(outbox: MemoryOutbox, limit: int = 1000) -> list[Entry]:
    return await outbox.read(0, limit)


async def _ended(tasks: list[asyncio.Task[int]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)


class OutboxModel(RuleBasedStateMachine):
    """Whatever happens: what the hub has not got is either kept, or counted and announced; and the limits hold."""

    LIMIT = 8

    @initialize()
    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.outbox = self.loop.run_until_complete(opened(messages=self.LIMIT))
        self.made: set[int] = set()
        self.kept: set[int] = set()
        self.hub: set[int] = set()
        self.announced: set[int] = set()
        self.waiting: list[asyncio.Task[int]] = []

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for task in self.waiting:
                task.cancel()
            self.loop.run_until_complete(_ended(self.waiting))
            self.loop.close()

    @rule(body=st.sampled_from([telemetry(), STATE, Event("e", "info")]))
    def put(self, body: Any) -> None:
        self.made.add(self.loop.run_until_complete(self.outbox.put(body)))

    @rule()
    def put_and_wait_for_room(self) -> None:
        self.waiting.append(self.loop.create_task(self.outbox.put(telemetry(), wait=True)))
        self._let_waiting_in()

    @rule(limit=st.integers(1, 20), loses=st.sets(st.integers(0, 19)))
    def send(self, limit: int, loses: set[int]) -> None:
        for index, entry in enumerate(self.loop.run_until_complete(pending(self.outbox, limit))):
            envelope = decode(entry.payload)
            assert envelope.seq == entry.seq
            assert envelope.epoch == self.outbox.epoch
            if index in loses:
                continue
            self.hub.add(entry.seq)
            if isinstance(envelope.body, Event) and envelope.body.name == DROPPED:
                for first, last in envelope.body.data["ranges"]:
                    self.announced.update(range(first, last + 1))

    @rule()
    def acknowledge(self) -> None:
        self.outbox.ack(self.outbox.epoch, self._position())
        self._let_waiting_in()

    @rule()
    def acknowledge_another_epoch(self) -> None:
        before = self.outbox.backlog
        self.outbox.ack("other", 5)
        assert self.outbox.backlog == before

    @invariant()
    def nothing_is_missing(self) -> None:
        if not hasattr(self, "outbox"):
            return
        here = {entry.seq for entry in self.outbox._entries.values()}
        pending_notice: set[int] = set()
        notices = [e for e in self.outbox._entries.values() if e.notice]
        for notice in notices:
            body = decode(notice.payload).body
            assert isinstance(body, Event)
            pending_notice |= {s for first, last in body.data["ranges"] for s in range(first, last + 1)}
        assert self.made <= here | self.hub | self.announced | pending_notice
        assert self.kept <= here | self.hub, "what waited for room is never given up while there is anything else"

    @invariant()
    def limits_hold(self) -> None:
        if hasattr(self, "outbox"):
            entries = list(self.outbox._entries.values())
            assert sum(not e.notice for e in entries) <= self.LIMIT
            assert self.outbox.bytes == sum(len(e.payload) for e in entries if not e.notice)
            assert [e.seq for e in entries] == sorted(e.seq for e in entries)

    @precondition(lambda self: hasattr(self, "outbox"))
    @rule()
    def deliver_everything(self) -> None:
        for _ in range(100):
            self.send(1000, set())
            self.acknowledge()
            if not self.outbox.backlog and not self.waiting:
                break
        assert self.outbox.backlog == 0
        assert not self.waiting
        top = self.outbox._next - 1
        assert self._position() == top, "the hub never waits for a message that will not come"
        assert self.outbox.dropped <= len(self.announced)

    def _position(self) -> int:
        settled = self.hub | self.announced
        position = 0
        while position + 1 in settled:
            position += 1
        return position

    def _let_waiting_in(self) -> None:
        self.loop.run_until_complete(settle())
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            self.made.add(task.result())
            self.kept.add(task.result())


OutboxModel.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestOutbox = OutboxModel.TestCase


async def test_outbox_numbers_from_one_in_an_epoch_that_sorts_by_time() -> None:
    outbox = await opened()
    assert [await outbox.put(telemetry()), await outbox.put(STATE)] == [1, 2]
    assert len(outbox.epoch) == EPOCH_LENGTH
    clock = VirtualClock()
    first = new_epoch(clock, random.Random(9))
    await clock.advance(0.001)
    assert first < new_epoch(clock, random.Random(1))


async def test_outbox_without_room_gives_up_the_oldest_telemetry_first_and_tells_the_range() -> None:
    outbox = await opened(messages=4)
    await outbox.put(Event("important", "error"))
    for _ in range(5):
        await outbox.put(telemetry())
    assert outbox.dropped == 2
    entries = await pending(outbox)
    notice = decode(next(e.payload for e in entries if e.notice)).body
    assert isinstance(notice, Event)
    assert notice.data == {"epoch": outbox.epoch, "ranges": [[2, 3]], "count": 2, "reason": "full"}
    assert 1 in {e.seq for e in entries}


async def test_outbox_losses_after_the_notice_was_sent_get_a_notice_of_their_own() -> None:
    outbox = await opened(messages=2)
    for _ in range(4):
        await outbox.put(telemetry())
    await pending(outbox)
    for _ in range(3):
        await outbox.put(telemetry())
    bodies = [decode(e.payload).body for e in await pending(outbox) if e.notice]
    lost = [r for body in bodies if isinstance(body, Event) for r in body.data["ranges"]]
    assert len(bodies) == 2
    assert sum(last - first + 1 for first, last in lost) == outbox.dropped


async def test_outbox_is_bounded_in_bytes() -> None:
    outbox = await opened(bytes=20_000)
    for _ in range(50):
        await outbox.put(telemetry(1000))
    assert sum(len(e.payload) for e in await pending(outbox) if not e.notice) <= 20_000
    assert outbox.dropped > 0


async def test_outbox_refuses_a_message_that_the_hub_would_not_take() -> None:
    outbox = await opened()
    with pytest.raises(TooLargeError, match=r"a telemetry of 3\d{5} bytes is larger than the 262144"):
        await outbox.put(telemetry(300_000))
    assert outbox.backlog == 0


async def test_outbox_keeps_the_time_at_which_a_message_was_made_while_it_waits_for_room() -> None:
    outbox = await opened(messages=10)
    for _ in range(9):
        await outbox.put(telemetry())
    waiting = asyncio.create_task(outbox.put(telemetry(), ts=12345, wait=True))
    await settle()
    assert not waiting.done()
    outbox.ack(outbox.epoch, 5)
    assert await waiting == 10
    assert decode((await pending(outbox))[-1].payload).ts == 12345


async def _acknowledged(messages: int) -> tuple[MemoryOutbox, VirtualClock]:
    """An outbox from which so many messages are acknowledged, one by one."""
    clock = VirtualClock()
    outbox = await MemoryOutbox("r1", clock=clock, rng=random.Random(1), limits=Limits()).__aenter__()
    for _ in range(messages):
        outbox.ack(outbox.epoch, await outbox.put(telemetry()))
    return outbox, clock


async def _reminders(outbox: MemoryOutbox) -> list[Any]:
    bodies = [decode(entry.payload).body for entry in await pending(outbox)]
    return [body.data["ranges"] for body in bodies if isinstance(body, Event) and body.name == DROPPED]


async def test_outbox_reminds_a_hub_that_was_reset_to_an_older_state_once() -> None:
    outbox, clock = await _acknowledged(5)
    waiting = await outbox.put(STATE)
    for _ in range(10):
        outbox.ack(outbox.epoch, 2)
        await clock.advance(1.0)
    assert await _reminders(outbox) == [[[3, 5]]]
    assert outbox.dropped == 0
    assert [entry.seq for entry in await pending(outbox)] == [waiting, waiting + 1]
    outbox.ack(outbox.epoch, waiting + 1)
    assert outbox.backlog == 0


async def test_outbox_reminds_a_hub_that_is_reset_a_second_time_further_back() -> None:
    outbox, clock = await _acknowledged(9)
    for known in (6, 6, 6, 6, 2, 2):
        outbox.ack(outbox.epoch, known)
        await clock.advance(1.5)
    assert await _reminders(outbox) == [[[3, 9]]], "the first reminder is still open, and grows"


@pytest.mark.parametrize(("count", "pause"), [(50, 0.01), (2, 60.0)])
async def test_outbox_that_hears_few_overtaken_acknowledgements_does_not_take_the_hub_for_reset(
    count: int, pause: float
) -> None:
    outbox, clock = await _acknowledged(100)
    for known in range(count):
        outbox.ack(outbox.epoch, known)
        await clock.advance(pause)
    assert outbox.backlog == 0


async def test_outbox_on_a_network_that_reorders_for_hours_does_not_take_the_hub_for_reset() -> None:
    outbox, clock = await _acknowledged(10)
    order = random.Random(7)
    for _ in range(300):
        newest = await outbox.put(telemetry())
        outbox.ack(outbox.epoch, newest)
        for known in sorted(order.sample(range(newest - 10, newest), 3), reverse=True):
            outbox.ack(outbox.epoch, known)
            await clock.advance(0.5)
    assert outbox.backlog == 0
    assert outbox.head == 310


async def test_outbox_ignores_an_acknowledgement_of_what_was_never_made() -> None:
    outbox = await opened()
    await outbox.put(telemetry())
    outbox.ack(outbox.epoch, 7)
    assert outbox.backlog == 1
