"""The calibration in a runtime: what it asks of the safety node and tells state and outbox, and the hub's commands."""

import random
from collections.abc import Callable

from botyard_edge.calibration import CalibrationNode, Store
from botyard_edge.calibration.asked import Asked
from botyard_edge.commands import CommandDesk
from botyard_edge.config import Config
from botyard_edge.driver import DriverContext
from botyard_edge.safety import SafetyNode
from botyard_edge.state import StateKeeper
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Event

NAME = "calibration"


class _Robot:
    """The rest of the robot, as the calibration sees it."""

    def __init__(self, safety: SafetyNode, state: StateKeeper, send: Callable[[Event], None]) -> None:
        self._safety = safety
        self._state = state
        self._send = send

    def moving(self) -> str | None:
        return self._safety.moving

    def tell(self, event: Event) -> None:
        self._send(event)

    def health(self, reasons: list[str]) -> None:
        self._state.update(NAME, health="warning" if reasons else "ok", health_reasons=reasons)
        self._state.changed()


def make_calibration(
    config: Config,
    safety: SafetyNode,
    state: StateKeeper,
    send: Callable[[Event], None],
    *,
    clock: Clock,
    threads: bool,
) -> CalibrationNode:
    """The node that the settings want, not open yet."""
    limits = safety.policy.limits
    return CalibrationNode(
        _Robot(safety, state, send),
        clock=clock,
        store=Store(config.calibration_file) if config.calibration_file else None,
        keep=config.calibration.versions,
        from_hub=config.calibration.from_hub,
        drivers=[driver.name for driver in config.drivers],
        watched=safety.policy.watched,
        fenced=bool(limits.geofence.polygons or limits.keep_out.polygons),
        limited=any(one is not None for one in (limits.max_speed, limits.max_angular_speed, limits.max_acceleration)),
        fastest=(limits.max_speed, limits.max_angular_speed),
        threads=threads,
    )


def offer_calibration(
    desk: CommandDesk, node: CalibrationNode, config: Config, *, clock: Clock, rng: random.Random
) -> None:
    """From now on the hub may ask for changes."""
    asked = Asked(DriverContext(config.robot, NAME, {}, config.folder, clock, rng), node)
    desk.offer(asked, asked.capabilities.commands, own=True)
