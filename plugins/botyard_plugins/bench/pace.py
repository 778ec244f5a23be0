"""How fast a virtual robot sends what it collected in an outage: as a real one, as fast as live data stays quick.

Additive increase, multiplicative decrease, steered by the delay of acknowledgements as in LEDBAT (RFC 6817): more delay
than the shortest one of late means that something on the way has a queue, and live data waits in it, too.
"""

# Messages per second at first and at the least, and what is added in a second; seconds of delay above the shortest one
# that are no queue yet (the hub's batches alone make 0.05), and seconds between two cuts.
START, FLOOR, GAIN = 20.0, 5.0, 50.0
TARGET, SETTLE = 0.07, 0.5
BURST = 10.0
# The shortest delay is forgotten after one to two of these, since ways become longer, too: seconds.
MEMORY = 60.0


class Pace:
    """A token bucket. `ceiling` is in messages per second, all times are seconds of a steady clock."""

    __slots__ = ("_before", "_ceiling", "_cut", "_filled", "_heard", "_last", "_shortest", "_tokens", "_turned", "rate")

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """A new connection, whose way may be another one."""
        self.rate = min(START, self._ceiling)
        self._tokens = 1.0
        self._filled = self._cut = self._turned = self._heard = now
        self._shortest = self._before = self._last = float("inf")

    def allowed(self, now: float) -> int:
        """How many messages may be sent now."""
        self._tokens = min(max(BURST, self.rate / 20), self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        return int(self._tokens)

    def spend(self, messages: int) -> None:
        """So many are sent."""
        self._tokens -= messages

    def acknowledged(self, delay: float, now: float) -> None:
        """A message that was sent once and in order was acknowledged after `delay`."""
        if now - self._turned >= MEMORY:
            self._turned, self._before, self._shortest = now, self._shortest, float("inf")
        self._shortest = min(self._shortest, delay)
        elapsed, self._heard = min(1.0, now - self._heard), now
        # the shorter one of two, so that one late acknowledgement says nothing
        shorter, self._last = min(delay, self._last), delay
        if shorter > min(self._shortest, self._before) + TARGET:
            self.slow_down(now, delay)
        elif now - self._cut >= delay:  # else it was sent before the cut
            self.rate = min(self._ceiling, self.rate + GAIN * elapsed)

    def slow_down(self, now: float, delay: float = 0.0) -> None:
        """Something was lost, or late."""
        if now - self._cut >= max(SETTLE, delay):
            self._cut = now
            self.rate = max(min(FLOOR, self._ceiling), self.rate / 2)
