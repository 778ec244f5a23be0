"""The hub is away: what the declared policy makes of that, and when. Pure.

That the robot has set out for its dock in this outage, and what became of it, is in the ledger: a restart while the hub
is away begins no new outage. What drivers are busy with they say themselves, once they work.
"""

from typing import Literal

from botyard_edge.safety.effects import Record
from botyard_edge.safety.ledger import Ledger
from botyard_edge.safety.policy import Watchdogs

Step = Literal["safe", "dock"]


class Absence:
    """One robot's link. `dock` is the command that brings it home (None: it has none). Moments are those of the steady
    clock."""

    def __init__(self, watchdogs: Watchdogs, ledger: Ledger, dock: str | None) -> None:
        self.dock = dock
        self.returning = False
        self._watchdogs = watchdogs
        self._ledger = ledger
        self._lost: float | None = None
        self._busy: set[str] = set()
        self._begun: set[str] = set()

    def connected(self) -> Record | None:
        """There is a connection. What was begun meanwhile goes on, as any command does. What is to be remembered."""
        self._lost = None
        return self._ledger.tried(None) if self._ledger.return_to_dock is not None else None

    def lost(self, steady: float) -> None:
        """There is none any more."""
        if self._lost is None:
            self._lost = steady

    def busy(self, driver: str, *, now: bool) -> None:
        """A driver says whether it carries out a mission of its own; one that does not work carries out none."""
        (self._busy.add if now else self._busy.discard)(driver)

    def begins(self, driver: str, steady: float) -> None:
        """A driver works. Of what it may be busy with nothing was known before, so the first time counts anew."""
        if driver not in self._begun:
            self._begun.add(driver)
            if self._lost is not None and self._watchdogs.link == "finish_mission":
                self._lost = steady

    def due(self) -> float | None:
        """The moment of the next step; None: only after something else has happened."""
        policy = self._watchdogs.link
        if self._lost is None or policy == "continue" or self.returning:
            return None
        running = self._ledger.running.values()
        if policy == "finish_step" and any(one.moves for one in running):
            return None
        if policy == "finish_mission" and (running or self._busy):
            return None
        return self._lost + self._watchdogs.link_timeout

    def step(self) -> Step:
        """What to do at that moment."""
        tried = self._ledger.return_to_dock is not None
        if self._watchdogs.link != "return_to_dock" or tried or self.dock is None:
            return "safe"
        self.returning = True
        return "dock"

    def sets_out(self) -> Record:
        """The robot is about to. What is to be remembered."""
        return self._ledger.tried("the edge ended on the way to its dock")

    def returned(self, trouble: str | None) -> Record | None:
        """The robot is at its dock, or could not go there. What is to be remembered."""
        self.returning = False
        if self._ledger.return_to_dock is None:
            return None  # the outage has ended meanwhile
        outcome = "the robot has returned to its dock" if trouble is None else f"it could not dock: {trouble}"
        return self._ledger.tried(outcome)

    @property
    def reason(self) -> str:
        """Why the robot is in safe mode now."""
        said = f"there has been no connection to the hub for {self._watchdogs.link_timeout:g} s"
        outcome = None if self.returning else self._ledger.return_to_dock
        return f"{said}; {outcome}" if outcome else said
