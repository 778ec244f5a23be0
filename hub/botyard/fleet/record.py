"""What the hub knows of one robot."""

from dataclasses import dataclass
from typing import Literal

from botyard.fleet.presence import PresenceTracker
from botyard.store.base import RobotRow
from botyard_schemas import State

LogicalStatus = Literal["idle", "busy", "offline", "maintenance", "updating", "recovering", "error"]


@dataclass(slots=True)
class RobotRecord:
    """Everything that is known of one robot now."""

    row: RobotRow
    presence: PresenceTracker
    last_seen: int | None = None
    state: State | None = None
    state_ts: int | None = None
    transport: str | None = None

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
