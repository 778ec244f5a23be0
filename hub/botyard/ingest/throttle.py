"""A robot that sends rubbish is throttled alone: it may fill its share of the quarantine, and no more."""

from collections import OrderedDict

# Messages per second that one robot may have quarantined, and how many at once after a quiet time. The others are only
# counted.
RATE = 10.0
BURST = 100.0
# Robots that are remembered; the quietest is forgotten first, and starts with a full bucket again.
MAX_ROBOTS = 10_000


class Throttle:
    """A token bucket for each robot. Times are seconds of a steady clock."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, robot: str, now: float) -> bool:
        """Whether one more message of this robot is kept."""
        tokens, then = self._buckets.pop(robot, (BURST, now))
        tokens = min(BURST, tokens + (now - then) * RATE)
        allowed = tokens >= 1.0
        self._buckets[robot] = (tokens - 1.0 if allowed else tokens, now)
        if len(self._buckets) > MAX_ROBOTS:
            self._buckets.popitem(last=False)
        return allowed
