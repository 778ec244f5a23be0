"""What a robot tells people who stand beside it, and what they may do: look, stop it, and clear what is latched."""

from collections.abc import Callable

import msgspec

from botyard_edge.safety import SafetyNode
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Battery, Health, Limit, Mode, NodeState, Pose, State

# Characters of a name and of a reason that are kept for the record.
WHO_LENGTH, REASON_LENGTH = 64, 512


class Why(msgspec.Struct, frozen=True):
    """One cause: why the robot does not move since that time (microseconds, hub time), and whether that lasts."""

    level: str
    reason: str
    since: int
    latched: bool
    active: bool


class LinkFace(msgspec.Struct, frozen=True):
    """The connection to the hub: where it leads (None: there is none), what waits and what was given up in the outbox;
    `clock_offset` and `round_trip` in microseconds, None until the hub was heard."""

    to: str | None
    backlog: int
    dropped: int
    clock_offset: int | None
    round_trip: int | None


class Status(msgspec.Struct, frozen=True):
    """Everything at one moment. `now` and `started` are microseconds since 1970, hub time."""

    robot: str
    name: str | None
    software: str | None
    now: int
    started: int
    mode: Mode
    mode_reason: str | None
    causes: list[Why]
    health: Health
    health_reasons: list[str]
    busy: bool | None
    doing: str | None
    battery: Battery | None
    pose: Pose | None
    nodes: dict[str, NodeState]
    limits: dict[str, Limit]
    link: LinkFace
    calibration: list[dict[str, str]] = []


class Face:
    """One robot's. `state` gives its state now, `to` where it is connected to (None: nowhere), and `calibration` a
    `name` and a `text` for each profile."""

    def __init__(
        self,
        robot: str,
        safety: SafetyNode,
        *,
        clock: Clock,
        state: Callable[[], State],
        to: Callable[[], str | None],
        calibration: Callable[[], list[dict[str, str]]] = list,
    ) -> None:
        self.robot = robot
        self._safety = safety
        self._clock = clock
        self._state = state
        self._to = to
        self._calibration = calibration
        self._began = clock.monotonic()

    def status(self) -> Status:
        """What there is to see now."""
        state, now = self._state(), self._clock.now()
        about, link = state.about, state.link
        return Status(
            robot=self.robot,
            name=about.name if about else None,
            software=about.software if about else None,
            now=now,
            started=now - round((self._clock.monotonic() - self._began) * 1e6),
            mode=state.mode,
            mode_reason=state.mode_reason,
            causes=[Why(one.level, one.reason, one.since, one.latched, one.active) for one in self._safety.core.causes],
            health=state.health,
            health_reasons=state.health_reasons,
            busy=state.busy,
            doing=state.doing,
            battery=state.battery,
            pose=state.pose,
            nodes=state.nodes,
            limits=state.limits,
            link=LinkFace(
                self._to(),
                link.backlog if link else 0,
                link.dropped if link else 0,
                _known(link.clock_offset) if link else None,
                _known(link.round_trip) if link else None,
            ),
            calibration=self._calibration(),
        )

    def stop(self, who: str, reason: str) -> None:
        """Set the emergency stop."""
        words = f"{_cut(who, WHO_LENGTH) or 'somebody'} pressed the emergency stop at the robot"
        self._safety.estop(f"{words}: {_cut(reason, REASON_LENGTH)}" if reason else words)

    def clear(self, who: str, reason: str) -> None:
        """Lift what is latched. Raises ClearRefusedError while a cause lasts."""
        self._safety.clear(_cut(who, WHO_LENGTH) or "somebody", _cut(reason, REASON_LENGTH))


def _known(value: int | msgspec.UnsetType) -> int | None:
    return None if value is msgspec.UNSET else value


def _cut(text: str, length: int) -> str:
    return " ".join(text.split())[:length]
