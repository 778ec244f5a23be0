"""The pace of the backlog: alone against given delays, and a fleet that shares one hub."""

import asyncio
import random
from collections import deque
from typing import Any

import pytest

from botyard_edge.memory import MemoryOutbox
from botyard_edge.pace import FLOOR, GAIN, MEMORY, SETTLE, START, TARGET, BacklogPace, Pace
from botyard_edge.sender import Sender
from botyard_edge.testing import VirtualClock, settle
from botyard_schemas import Channel, Group, Telemetry, decode

TELEMETRY = Telemetry([Group([0], [Channel("a", [1.0])])])


async def drive(pace: BacklogPace, clock: VirtualClock, seconds: float, delay: float, *, wanting: bool = True) -> int:
    """Let time pass with an acknowledgement every 50 ms; gives how many messages went out."""
    sent = 0
    for _ in range(round(seconds / 0.05)):
        await clock.advance(0.05)
        while wanting and pace.take():
            sent += 1
        pace.acknowledged(delay)
    return sent


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


async def test_pace_grows_by_its_gain_while_acknowledgements_are_prompt(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(), clock)
    pace.begin()
    await drive(pace, clock, 4, 0.06)
    assert pace.rate == pytest.approx(START + 4 * GAIN, rel=0.1)


async def test_pace_stays_below_its_ceiling_and_its_burst(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(rate=60.0, burst=5), clock)
    pace.begin()
    await drive(pace, clock, 5, 0.06)
    assert pace.rate == 60.0
    assert 60 * 5 - 5 <= await drive(pace, clock, 5, 0.06) <= 60 * 5 + 5
    await clock.advance(60)
    assert sum(pace.take() for _ in range(50)) == 5


async def test_pace_that_nobody_uses_does_not_grow(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(), clock)
    pace.begin()
    await drive(pace, clock, 10, 0.06, wanting=False)
    assert pace.rate == START


async def test_pace_is_halved_by_delay_once_in_a_while_and_never_falls_below_its_floor(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(), clock)
    pace.begin()
    await drive(pace, clock, 8, 0.06)
    before = pace.rate
    await drive(pace, clock, SETTLE, 0.06 + TARGET + 0.05)
    assert pace.rate == pytest.approx(before / 2, rel=0.1)
    await drive(pace, clock, 20, 0.06 + TARGET + 0.05)
    assert pace.rate == FLOOR


async def test_one_late_acknowledgement_says_nothing(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(), clock)
    pace.begin()
    await drive(pace, clock, 2, 0.06)
    before = pace.rate
    pace.acknowledged(1.0)
    assert pace.rate >= before


async def test_loss_halves_the_pace(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(), clock)
    pace.begin()
    await drive(pace, clock, 4, 0.06)
    before = pace.rate
    pace.lost()
    pace.lost()
    assert pace.rate == before / 2


async def test_way_that_is_long_from_the_start_is_not_taken_for_a_full_one(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(), clock)
    pace.begin()
    await drive(pace, clock, 5, 0.7)
    assert pace.rate > 4 * GAIN


async def test_way_that_has_become_longer_is_learnt(clock: VirtualClock) -> None:
    pace = BacklogPace(Pace(), clock)
    pace.begin()
    await drive(pace, clock, 5, 0.06)
    await drive(pace, clock, 2 * MEMORY + 5, 0.7)
    assert pace.rate > 4 * GAIN


class SharedHub:
    """Takes `capacity` messages per second from one queue, commits every 50 ms, and acknowledges."""

    def __init__(self, clock: VirtualClock, capacity: float) -> None:
        self.clock = clock
        self.late: list[float] = []
        self._per_batch = capacity * 0.05
        self._queue: deque[tuple[Robot, int, int]] = deque()

    async def run(self) -> None:
        spare = 0.0
        while True:
            await self.clock.sleep(0.05)
            spare = min(self._per_batch, spare) + self._per_batch
            heard: set[Robot] = set()
            while self._queue and spare >= 1:
                spare -= 1
                robot, seq, made = self._queue.popleft()
                robot.take(seq)
                heard.add(robot)
                if seq > robot.old:
                    self.late.append((self.clock.now() - made) / 1e6)
            for robot in sorted(heard, key=lambda one: one.name):
                robot.acknowledge()

    def give(self, robot: "Robot", seq: int, made: int) -> None:
        self._queue.append((robot, seq, made))


class Robot:
    """One robot's outbox and sender, as a session to the shared hub."""

    def __init__(self, name: str, hub: SharedHub) -> None:
        self.name = name
        self.old = 0
        self.hub = hub
        self.outbox = MemoryOutbox(name, clock=hub.clock, rng=random.Random(name))
        self.sender = Sender(name, self.outbox, clock=hub.clock, window=64, resend_after=5.0)
        self._known = 0
        self._settled: set[int] = set()

    async def publish(self, topic: str, payload: bytes, **_: Any) -> None:
        envelope = decode(payload)
        self.hub.give(self, envelope.seq, envelope.ts)

    def take(self, seq: int) -> None:
        self._settled.add(seq)

    def acknowledge(self) -> None:
        while self._known + 1 in self._settled:
            self._known += 1
        before = self.outbox.acknowledged
        self.outbox.ack(self.outbox.epoch, self._known)
        self.sender.heard(progress=self._known > before)


async def drained(robots: int, capacity: float, outage: float, rate: float) -> tuple[float, list[float]]:
    """An outage of a fleet that makes `rate` messages per second each: seconds until all of it is at the hub, the live
    messages' delays meanwhile."""
    clock = VirtualClock()
    hub = SharedHub(clock, capacity)
    fleet = [Robot(f"r{number}", hub) for number in range(robots)]
    for robot in fleet:
        await robot.outbox.__aenter__()
        for _ in range(round(outage * rate)):
            await robot.outbox.put(TELEMETRY)
        robot.old = robot.outbox.head
    tasks = [asyncio.create_task(robot.sender.run(robot)) for robot in fleet]  # type: ignore[arg-type]
    tasks.append(asyncio.create_task(hub.run()))
    dice = random.Random(1)

    async def produce(robot: Robot) -> None:
        await clock.sleep(dice.random() / rate)
        while True:
            await robot.outbox.put(TELEMETRY)
            await clock.sleep(1.0 / rate)

    tasks += [asyncio.create_task(produce(robot)) for robot in fleet]
    await settle()
    began = clock.monotonic()
    await clock.advance_until(lambda: all(r.outbox.acknowledged >= r.old for r in fleet), limit=outage, step=0.5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return clock.monotonic() - began, hub.late


@pytest.mark.parametrize("capacity", [800, 3000])
async def test_fleet_that_comes_back_drains_fast_while_live_data_stays_prompt(capacity: float) -> None:
    outage = 60.0
    took, late = await drained(10, capacity, outage, 10.0)
    assert outage / took >= 5
    assert sorted(late)[int(len(late) * 0.99)] < 0.2


async def test_fleet_that_was_away_shortly_does_not_come_back_all_at_once() -> None:
    _, late = await drained(20, 800, 6.0, 10.0)
    assert max(late) < 0.2
