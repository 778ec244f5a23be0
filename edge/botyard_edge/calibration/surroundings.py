"""What the calibration needs of the rest of the robot."""

from typing import Literal, Protocol

from botyard_schemas.messages import Event

# Where a change comes from: somebody at the robot, or the hub, which may do less.
Origin = Literal["local", "hub"]


class Surroundings(Protocol):
    """What the node has to ask of, and to tell to, the rest of the robot."""

    def moving(self) -> str | None:
        """What moves the robot now, if anything."""

    def tell(self, event: Event) -> None:
        """Send an event."""

    def health(self, reasons: list[str]) -> None:
        """What is wrong with the calibration; the state has changed in any case."""
