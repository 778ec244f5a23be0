"""The hub is away: what the declared policy makes of that, and when. Pure."""

from typing import Literal

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
        self._outcome: str | None = None
        self._tried = False
        self._busy: set[str] = set()

    def connected(self) -> None:
        """There is a connection. What was begun meanwhile goes on, as any command does."""
        self._lost = None
        self._tried = False
        self._outcome = None

    def lost(self, steady: float) -> None:
        """There is none any more."""
        if self._lost is None:
            self._lost = steady

    def busy(self, driver: str, *, now: bool) -> None:
        """A driver says whether it carries out a mission of its own; one that does not work carries out none."""
        (self._busy.add if now else self._busy.discard)(driver)

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
        if self._watchdogs.link != "return_to_dock" or self._tried or self.dock is None:
            return "safe"
        self._tried = self.returning = True
        return "dock"

    def returned(self, trouble: str | None) -> None:
        """The robot is at its dock, or could not go there."""
        self.returning = False
        self._outcome = "the robot has returned to its dock" if trouble is None else f"it could not dock: {trouble}"

    @property
    def reason(self) -> str:
        """Why the robot is in safe mode now."""
        said = f"there has been no connection to the hub for {self._watchdogs.link_timeout:g} s"
        return f"{said}; {self._outcome}" if self._outcome else said
