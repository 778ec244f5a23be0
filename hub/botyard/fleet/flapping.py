"""Keeps a robot whose presence comes and goes all the time from flooding the bus and the events.

What is shown stays right; it is only told less often. As long as a robot flaps, its changes of presence are counted and
make no events, and they are published together, at most once per look at the clock.
"""

from dataclasses import dataclass, field

# So many changes of presence within so many seconds are flapping; a robot without one for as long has settled. A robot
# that reboots makes two, and four if it does so twice.
CHANGES = 6
WINDOW = 60.0


@dataclass(frozen=True, slots=True)
class Settled:
    """The end of a flapping: how many changes of presence it had, and how many seconds it lasted."""

    changes: int
    seconds: float


@dataclass(slots=True)
class Flapping:
    """Whether one robot flaps. Times `now` are seconds of a steady clock. `changes` counts those of this flapping."""

    active: bool = False
    changes: int = 0
    untold: bool = False
    _latest: list[float] = field(default_factory=list)  # a deque takes 600 bytes, for each robot of thousands
    _began: float = 0.0

    def on_change(self, now: float) -> bool:
        """Its presence changed; says whether that is one too many, so that from now on it flaps."""
        self._latest = [*self._latest[1 - CHANGES :], now]
        if self.active:
            self.changes += 1
            self.untold = True
            return False
        if len(self._latest) < CHANGES or now - self._latest[0] > WINDOW:
            return False
        self.active, self.changes, self._began = True, CHANGES, self._latest[0]
        return True

    def on_time(self, now: float) -> Settled | None:
        """Time has passed; says what there is to say when it has settled."""
        if not self.active or now - self._latest[-1] < WINDOW:
            return None
        settled = Settled(self.changes, self._latest[-1] - self._began)
        self.active, self.changes = False, 0
        self._latest.clear()
        return settled
