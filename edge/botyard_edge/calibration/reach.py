"""A robot's calibration for the command line: through its local door while it runs, else in its file."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from botyard_edge.bus import Bus
from botyard_edge.calibration.door import answer_calibration
from botyard_edge.calibration.draft import CalibrationError
from botyard_edge.calibration.node import CalibrationNode
from botyard_edge.calibration.store import Store
from botyard_edge.config import Config
from botyard_edge.local.door import DoorError, Request, ask, whoever
from botyard_schemas.clock import SystemClock
from botyard_schemas.messages import Event

log = logging.getLogger(__name__)

SLACK = 10.0  # seconds that an answer may take beyond what was asked for


class _NoRobot:
    """What surrounds the calibration of a robot that does not run: the hub hears of changes at its next start."""

    def moving(self) -> str | None:
        return None

    def tell(self, event: Event) -> None:
        log.debug("the hub is not told now: %s", event.name)

    def health(self, reasons: list[str]) -> None:
        for reason in reasons:
            log.warning("%s", reason)


class Reach:
    """One robot's, running or not."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def ask(self, do: str, **wish: Any) -> dict[str, Any]:
        """What the robot answers. Raises CalibrationError when it refuses, and DoorError when it cannot be reached."""
        door, file = self._config.door_file, self._config.calibration_file
        if door is None or file is None:
            raise DoorError("this robot keeps nothing on disk (outbox.path), so its calibration is the hub's to set")
        who, args = whoever(), {"do": do, **wish}
        try:
            answer = ask(door, Request("calibration", who, args=args), within=wish.get("seconds", 0.0) + SLACK)
            result, refused = answer.result, answer.refused
        except DoorError:
            if do == "samples":
                raise
            result, refused = self._without_robot(file, args, who)
        if result is None:
            raise CalibrationError(refused or "the robot that runs is of a version that knows no calibration")
        return result

    def _without_robot(self, file: Path, args: dict[str, Any], who: str) -> tuple[dict[str, Any] | None, str | None]:
        node = CalibrationNode(
            _NoRobot(),
            clock=SystemClock(),
            store=Store(file),
            keep=self._config.calibration.versions,
            drivers=[driver.name for driver in self._config.drivers],
        )
        try:
            if not node.open():
                raise DoorError(f"{file} is in use by an edge that does not answer")
            result, refused = asyncio.run(answer_calibration(node, Bus(), args, who))
            if result is not None:
                result.pop("state", None)  # without drivers, nobody knows where a profile stands
            return result, refused
        finally:
            node.close()
