"""How fast a backlog is sent: as fast as the way to the hub takes it without making live data late.

Additive increase, multiplicative decrease, steered by delay as in LEDBAT (RFC 6817): the time from sending a message to
the hub's acknowledgement grows when something on the way (the robot's own connection, the broker, the hub, its disk)
has a queue, and live data waits in that same queue. While the delay is at most `PROMPT`, or within `TARGET` of the
shortest that was seen of late, the rate grows by `GAIN`; otherwise, or when messages are lost, the rate is halved.
So one robot finds what its connection can take, and a fleet that comes back together shares what its hub can take.
"""

from collections import deque
from dataclasses import dataclass

from botyard_schemas.clock import Clock

# Messages per second with which a session begins, and below which the rate is not pressed: a hub that is slow for other
# reasons still gets the backlog.
START = 20.0
FLOOR = 10.0

# Messages per second that are added in each second in which the delay is small and the rate was what held back.
GAIN = 25.0

# Seconds that the delay may be above the shortest one. More than the age of the hub's batches (0.05), by which it
# varies anyway; and little enough that live data, which waits in the same queues, stays below 0.2.
TARGET = 0.07

# An acknowledgement within so many seconds is prompt, however much shorter another one was: commits vary.
PROMPT = 0.1

# The shortest of so many delays counts, so that one late acknowledgement says nothing.
RECENT = 2

# The shortest delay is forgotten after one to two of these periods, since ways become longer, too; seconds.
MEMORY = 60.0

# The least seconds between two cuts: what a cut has done shows only after a while.
SETTLE = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """The most messages per second of the backlog, and how many may be sent at once."""

    rate: float = 1000.0
    burst: int = 10


PACE = Pace()


class BacklogPace:
    """A token bucket whose rate follows what `acknowledged` and `lost` tell. Times are seconds of `clock`."""

    def __init__(self, pace: Pace, clock: Clock) -> None:
        self.rate = min(START, pace.rate)
        self._pace = pace
        self._clock = clock
        self._tokens = 0.0
        self._counted = 0.0
        self._delays: deque[float] = deque(maxlen=RECENT)
        self._shortest = [float("inf"), float("inf")]
        self._turned = 0.0
        self._cut = 0.0
        self._heard = 0.0
        self._held_back = False

    def begin(self) -> None:
        """A new session, whose way to the hub may be another one."""
        self.rate = min(START, self._pace.rate)
        self._tokens = 1.0  # not the whole burst: a fleet comes back together
        self._delays.clear()
        self._shortest = [float("inf"), float("inf")]
        self._counted = self._turned = self._cut = self._heard = self._clock.monotonic()
        self._held_back = False

    def take(self) -> bool:
        """Whether one more message may be sent now."""
        now = self._clock.monotonic()
        self._tokens = min(float(self._pace.burst), self._tokens + (now - self._counted) * self.rate)
        self._counted = now
        if self._tokens < 1.0:
            self._held_back = True
            return False
        self._tokens -= 1.0
        return True

    def due(self) -> float:
        """Seconds until the next message may be sent."""
        return max(0.0, (1.0 - self._tokens) / self.rate)

    def acknowledged(self, delay: float) -> None:
        """The hub has acknowledged a message that was sent once, `delay` seconds ago."""
        now = self._clock.monotonic()
        elapsed, self._heard = min(1.0, now - self._heard), now
        self._note(delay, now)
        allowed = max(PROMPT, min(self._shortest) + TARGET)
        if min(self._delays) > allowed:
            self._slow_down(now, delay)
        elif self._held_back and now - self._cut >= delay:  # else it was sent before the cut
            self.rate = min(self._pace.rate, self.rate + GAIN * elapsed)
            self._held_back = False

    def lost(self) -> None:
        """A message was not acknowledged in time."""
        self._slow_down(self._clock.monotonic(), 0.0)

    def _slow_down(self, now: float, delay: float) -> None:
        if now - self._cut >= max(SETTLE, delay):
            self._cut = now
            self.rate = max(min(FLOOR, self._pace.rate), self.rate / 2.0)

    def _note(self, delay: float, now: float) -> None:
        if now - self._turned >= MEMORY:
            self._turned = now
            self._shortest = [self._shortest[1], float("inf")]
        self._shortest[1] = min(self._shortest[1], delay)
        self._delays.append(delay)
