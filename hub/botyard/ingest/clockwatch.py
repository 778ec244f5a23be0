"""Finds out when the hub's own clock is behind, so that good messages are not refused as being from the future.

One robot whose stamps are in the future has a wrong clock. Several robots that agree with each other, and are more than
those whose stamps are in order, have the right time, and the hub has not. As long as that is so, what is refused only
for being in the future waits: nothing of it is settled, so the robots keep it, and send it again when the hub's clock
has been set.
"""

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple, Self

from botyard.core.actor import HUB
from botyard.core.bus import Bus
from botyard.core.config import IngestConfig
from botyard.core.events import EventNoted
from botyard.core.tasks import Tasks
from botyard.fleet.fleet import Fleet
from botyard.store.base import EventRow, Store
from botyard_schemas import Envelope, Event, Telemetry
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Severity

log = logging.getLogger(__name__)

ENOUGH = 3  # robots that have to agree
WINDOW = 60.0  # seconds for which a robot's stamps count
HOLD = 600.0  # seconds for which they count against a clock that is suspected: who waits may say little
SPREAD = 60_000_000  # µs by which robots that agree may differ
REVIEW = 5.0  # seconds between looks at whether it is over
LATER = 60_000_000  # µs by which the newest event may be later than now before that is worth a warning
SMALL, REST = 100, 1e-4  # robots of a fleet that is looked at any time; seconds of rest for each robot of a larger one


class Suspicion(NamedTuple):
    """So many robots say that the hub is behind by `least` to `most` µs, and so many others are in order."""

    robots: int
    least: int
    most: int
    sane: int


class _Newest(NamedTuple):
    """A robot's newest stamp minus the hub's steady clock at its arrival (µs): it holds when somebody sets the clock.

    `at` is when that stamp was heard, `heard` when the last one in the future was (`Clock.monotonic`).
    """

    stamp: int
    at: float
    heard: float


def agreeing(aheads: Iterable[int]) -> tuple[int, int, int]:
    """The largest group that lies within `SPREAD`: how many, the least and the most; zeros for none."""
    ordered = sorted(aheads)
    best = (0, 0, 0)
    for first, least in enumerate(ordered):
        count = bisect_right(ordered, least + SPREAD, first) - first
        if count > best[0]:
            best = (count, least, ordered[first + count - 1])
    return best


def stamps(envelope: Envelope) -> tuple[int, int]:
    """The earliest and the latest time in a message, in µs."""
    ts, body = envelope.ts, envelope.body
    if isinstance(body, Event):
        return min(ts, ts + body.dt), max(ts, ts + body.dt)
    if isinstance(body, Telemetry):
        times = [ts + dt for group in body.groups for dt in group.dt]
        return min(ts, *times), max(ts, *times)
    return ts, ts


class ClockWatch:
    """Watches while its `async with` lasts. `suspicion` is what speaks against the hub's clock, None for nothing."""

    def __init__(self, config: IngestConfig, store: Store, fleet: Fleet, bus: Bus, clock: Clock) -> None:
        self._oldest = config.oldest_us
        self._future = int(config.max_future * 1e6)
        self._store = store
        self._fleet = fleet
        self._bus = bus
        self._clock = clock
        self._tasks = Tasks()
        self._wake = asyncio.Event()
        self._robots: dict[str, _Newest] = {}  # whose stamps are in the future
        self._in_order: set[str] = set()
        self._next_look = 0.0
        self.suspicion: Suspicion | None = None

    async def __aenter__(self) -> Self:
        newest = (await self._store.events(limit=1)).items
        if newest and (later := newest[0].ts - self._clock.now()) > LATER:
            log.warning(
                "the newest event in the store is %d s later than this machine's clock: is the clock right?",
                later // 10**6,
            )
        await self._tasks.__aenter__()
        self._tasks.start(self._review(), "hub.ingest.clockwatch")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._tasks.cancel()
        await self._tasks.__aexit__(None, None, None)

    def in_order(self, robot: str) -> None:
        """A message of the robot was taken in: its stamps are not in the future, or not all of them."""
        self._in_order.add(robot)

    def holds(self, envelope: Envelope) -> bool:
        """Whether a message that was found absurd is to wait instead: it is the hub that has the wrong time."""
        now = self._clock.now()
        earliest, latest = stamps(envelope)
        if earliest < self._oldest or latest <= now + self._future:
            return False
        if self.suspicion is not None and latest - now > self.suspicion.most + SPREAD:
            return False  # nor does it take away what the robot said before
        self._note(envelope.robot, latest)
        return self.suspicion is not None and latest - now <= self.suspicion.most + SPREAD

    def forget(self, robot: str) -> None:
        """Drop what is known of a robot."""
        self._robots.pop(robot, None)
        self._in_order.discard(robot)

    def _note(self, robot: str, latest: int) -> None:
        heard = self._clock.monotonic()
        newest = _Newest(latest - round(heard * 1e6), heard, heard)
        before = self._robots.pop(robot, None)
        if before is not None and before.stamp > newest.stamp and heard - before.at <= WINDOW:
            newest = before._replace(heard=heard)  # what comes out of its outbox is older than what it says of now
        self._robots[robot] = newest
        if heard >= self._next_look:
            self._look()

    def _look(self) -> None:
        """Weigh what robots say. Not for each message: with a large fleet it takes some milliseconds."""
        heard, now = self._clock.monotonic(), self._clock.now()
        self._next_look = heard + (len(self._fleet) * REST if len(self._fleet) > SMALL else 0)
        steady = now - round(heard * 1e6)  # changes only when somebody sets the clock
        kept = WINDOW if self.suspicion is None else HOLD
        self._robots = {
            robot: one
            for robot, one in self._robots.items()
            if heard - one.heard <= kept and one.stamp - steady > self._future
        }
        count, least, most = agreeing(one.stamp - steady for one in self._robots.values())
        if count < ENOUGH:
            self._conclude(None)
            return
        sane = sum(self._speaks(robot, now) for robot in self._in_order if robot not in self._robots)
        self._conclude(Suspicion(count, least, most, sane) if count > sane else None)

    def _speaks(self, robot: str, now: int) -> bool:
        record = self._fleet.get(robot)
        return record is not None and record.last_seen is not None and 0 <= now - record.last_seen <= WINDOW * 1e6

    def _conclude(self, found: Suspicion | None) -> None:
        before, self.suspicion = self.suspicion, found
        if found is not None and before is None:
            self._wake.set()
            message = (
                f"this hub's clock seems to be {found.most / 1e6:.0f} s behind: {found.robots} robots agree on a later "
                f"time, {found.sane} do not; messages from then wait on the robots until the clock is set"
            )
            log.error("%s", message)
            self._say("hub.clock_suspect", "error", message, found)
        elif found is None and before is not None:
            message = "this hub's clock agrees with its robots again; what waited on them is taken in"
            log.info("%s", message)
            self._say("hub.clock_trusted", "info", message, before)

    def _say(self, name: str, severity: Severity, message: str, found: Suspicion) -> None:
        data = {"robots": found.robots, "sane": found.sane, "behind": found.most / 1e6}
        row = EventRow(
            ts=self._clock.now(), robot=None, actor=str(HUB), name=name, severity=severity, message=message, data=data
        )
        self._bus.publish(EventNoted(actor=HUB, event=row))

    async def _review(self) -> None:
        """See whether it is over: nobody says so by himself."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.suspicion is not None:
                await self._clock.sleep(REVIEW)
                self._look()
