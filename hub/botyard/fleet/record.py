"""What the hub knows of one robot."""

from dataclasses import dataclass, field
from typing import Literal

from botyard.fleet.flapping import Flapping
from botyard.fleet.presence import PresenceTracker
from botyard.store.base import RobotRow
from botyard_schemas import Envelope, State

LogicalStatus = Literal["idle", "busy", "offline", "maintenance", "updating", "recovering", "error"]


@dataclass(slots=True)
class RobotRecord:
    """Everything that is known of one robot now."""

    row: RobotRow
    presence: PresenceTracker
    flapping: Flapping = field(default_factory=Flapping)
    last_seen: int | None = None
    state: State | None = None
    state_ts: int | None = None
    state_number: tuple[str, int] = ("", 0)
    transport: str | None = None

    def takes_over(self, state: State, envelope: Envelope) -> bool:
        """Take a state over unless a later one is known; says whether it did.

        Its number tells which is later and not its time: a clock may have been ahead for a while. States of different
        epochs count in the order of their arrival.
        """
        epoch, seq = self.state_number
        if epoch == envelope.epoch and seq >= envelope.seq:
            return False
        self.state, self.state_ts, self.state_number = state, envelope.ts, (envelope.epoch, envelope.seq)
        return True

    def retires(self, at: int) -> None:
        """It has left the fleet; what it said last stays."""
        self.presence.on_retired(at)
        self.flapping = Flapping()

    @property
    def retired(self) -> bool:
        """Whether it has left the fleet."""
        return self.row.retired is not None

    @property
    def logical(self) -> LogicalStatus:
        """The robot's status as the hub sees it."""
        if self.presence.status in ("offline", "unknown"):
            return "offline"
        if self.state is None:
            return "idle"
        if self.state.health == "error":
            return "error"
        return "busy" if self.state.busy else "idle"
