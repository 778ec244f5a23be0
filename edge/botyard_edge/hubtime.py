"""The hub's time on the robot: an estimate of the hub's clock, carried on by the robot's steady clock.

As NTP does it: of the latest exchanges the one with the shortest round trip knows best, since half of its round trip
bounds its error. Stamps never run backwards by less than a minute: a smaller correction is made by letting time go at
half its speed.

Before the first exchange the robot's own clock counts, read once and carried on by the steady clock, so that setting it
moves nothing. What is stamped then says so, with the boot and the steady clock's time, and the hub corrects it once it
has heard how that boot's steady clock stands to its own. With the first exchange the stamps change over at once: in
the hub's store they go on as if they had been right from the beginning.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from botyard_schemas import Time
from botyard_schemas.clock import Clock, loop_seconds
from botyard_schemas.messages import BootTime, Unsynced

log = logging.getLogger(__name__)

# Exchanges that are remembered, as in NTP's clock filter.
EXCHANGES = 8

# Requests whose answers are still taken.
PENDING = 4

# A clock that is further ahead than this is set back at once: hours of stamps that stand still, or that the hub refuses
# as future, would be worse than stamps that jump once. In microseconds.
MOST_SLEW = 60_000_000

# What two exchanges may differ by beyond what their round trips explain: drift, and the grain of clocks. Microseconds.
GRAIN = 2_000
DRIFT = 500e-6


class Exchange(NamedTuple):
    """What one answer says: hub time minus the robot's steady time, at a steady time; all in microseconds."""

    at: int
    ahead: int
    round_trip: int


class Stamp(NamedTuple):
    """What goes with a time of this clock: the robot's own at that moment, whether it is the hub's at all, and the same
    moment on a line that begins with the robot's own time and never jumps, by which the age of messages is told."""

    robot_ts: int
    unsynced: Unsynced | None
    local: int


class HubClock:
    """A clock in hub time. `own` is the robot's; `monotonic` and `sleep` are its.

    `boot` names the run of the steady clock. `on_met` is called just before the first exchange moves the stamps, and
    `met` is set after it; `boots` gives what to tell the hub of earlier boots.
    """

    def __init__(self, own: Clock, boot: str = "boot") -> None:
        self.boot = boot
        self.met = asyncio.Event()
        self.on_met: Callable[[], None] = lambda: None
        self.boots: Callable[[], Sequence[BootTime]] = tuple
        self._robot = own
        self._base = own.now() - round(own.monotonic() * 1e6)
        self._exchanges: deque[Exchange] = deque(maxlen=EXCHANGES)
        self._pending: OrderedDict[int, int] = OrderedDict()
        self._best: Exchange | None = None
        self._stamp: int | None = None
        self._stamped = 0

    def now(self) -> int:
        """Microseconds since 1970 in hub time, as far as it is known."""
        steady = self._steady()
        if self._best is None:
            return self._base + steady
        wanted = steady + self._best.ahead
        if self._stamp is not None:
            elapsed = steady - self._stamped
            ahead = self._stamp + elapsed - wanted
            if ahead > MOST_SLEW:
                log.warning("the robot's time is set back by %.1f s", ahead / 1e6)
            elif ahead > 0:
                wanted = max(wanted, self._stamp + elapsed // 2)
        self._stamp, self._stamped = wanted, steady
        return wanted

    def own(self) -> tuple[int, int]:
        """The robot's steady clock and its own wall clock, in microseconds."""
        return self._steady(), self._robot.now()

    def monotonic(self) -> float:
        """Seconds on the robot's steady clock."""
        return self._robot.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds`."""
        await self._robot.sleep(seconds)

    def loop_seconds(self, seconds: float) -> float | None:
        """See `Clock`."""
        return loop_seconds(self._robot, seconds)

    def stamp(self, ts: int) -> Stamp:
        """What goes with the time `ts` of this clock, which is now or was a moment ago."""
        now, steady = self.now(), self._steady()
        local = ts - now + self._base + steady
        unsynced = Unsynced(self.boot, max(0, ts - self._base)) if self._best is None else None
        return Stamp(max(0, ts - now + self._robot.now()), unsynced, local)

    def remember(self, known: Exchange) -> None:
        """Begin with what an earlier process of this boot learned, until there is an exchange."""
        if self._best is None:
            self._best = known

    @property
    def best(self) -> Exchange | None:
        """The exchange that counts."""
        return self._best

    @property
    def offset(self) -> int | None:
        """Hub time minus the robot's own clock, in microseconds; None before the first exchange."""
        return self._steady() + self._best.ahead - self._robot.now() if self._best is not None else None

    @property
    def round_trip(self) -> int | None:
        """The round trip of the exchange that counts, in microseconds; None before the first exchange."""
        return self._best.round_trip if self._best is not None else None

    def request(self) -> Time:
        """A question for the hub, to be sent now."""
        # Questions are told apart by this time, and a clock that was set back may show one twice.
        origin = max(0, self._robot.now())
        while origin in self._pending:
            origin += 1
        steady = self._pending[origin] = self._steady()
        if len(self._pending) > PENDING:
            self._pending.popitem(last=False)
        ahead = None if self._best is None else self._best.ahead
        return Time(origin, boot=self.boot, steady=steady, ahead=ahead, boots=list(self.boots()))

    def learn(self, answer: Time) -> None:
        """Take over the hub's answer; one that answers no question of late is ignored."""
        asked = self._pending.pop(answer.origin, None)
        if asked is None or answer.received is None or answer.replied is None or answer.replied < answer.received:
            return
        steady = self._steady()
        round_trip = max(0, steady - asked - (answer.replied - answer.received))
        exchange = Exchange(steady, answer.replied + round_trip // 2 - steady, round_trip)
        if first := self._best is None:
            self.on_met()
        if self._best is not None and not _agree(self._best, exchange):
            log.info("the hub's clock moved by %.3f s", (exchange.ahead - self._best.ahead) / 1e6)
            self._exchanges.clear()
        self._exchanges.append(exchange)
        # Of several with the same round trip the latest, since clocks drift.
        self._best = min(reversed(self._exchanges), key=lambda known: known.round_trip)
        self.met.set()
        if first:
            log.info("the hub's clock is %+.3f s from this one's", (self.offset or 0) / 1e6)

    def _steady(self) -> int:
        return round(self._robot.monotonic() * 1e6)


def _agree(one: Exchange, other: Exchange) -> bool:
    """Whether both can be true of clocks that only drift."""
    allowed = (one.round_trip + other.round_trip) // 2 + GRAIN + int(abs(other.at - one.at) * DRIFT)
    return abs(one.ahead - other.ahead) <= allowed
