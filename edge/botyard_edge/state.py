"""The robot's state: put together from its parts, sent on change and periodically."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import msgspec

from botyard_edge.driver import StateChange
from botyard_edge.pulse import UNWATCHED, Silent
from botyard_edge.samples import clean_geo
from botyard_edge.timing import wait_event
from botyard_schemas.clock import Clock
from botyard_schemas.messages import (
    About,
    Battery,
    CalibrationState,
    Geo,
    Health,
    Limit,
    LinkState,
    Mode,
    NodeState,
    Pose,
    State,
)

# Parts that change all the time; a change of these alone is sent at the limited rate.
SMALL = frozenset({"pose", "geo", "battery"})
# After a state that said that more than so many messages wait, it is looked every so many seconds whether they have
# become fewer, and then the state is sent again: while a backlog drains, people watch it, and wait for its end.
SYNCING, SYNCING_PERIOD = 16, 2.0
_WORST: tuple[Health, ...] = ("ok", "warning", "error")


@dataclass(frozen=True, slots=True)
class StateSettings:
    """`period`: seconds after which the state is sent in any case. `max_rate`: most messages per second for small
    changes (pose, battery); others are sent at once."""

    period: float = 10.0
    max_rate: float = 2.0


class StateKeeper:
    """The only writer of the state. `send` keeps a state in the outbox; `limits` are what the safety node keeps."""

    def __init__(
        self,
        about: About,
        send: Callable[[State], Awaitable[object]],
        link: Callable[[], LinkState],
        *,
        clock: Clock,
        settings: StateSettings = StateSettings(),
        limits: Mapping[str, Limit] | None = None,
        calibration: Callable[[], CalibrationState | None] = lambda: None,
        pulse: Silent = UNWATCHED,
    ) -> None:
        self._calibration = calibration
        self._about = about
        self._send = send
        self._link = link
        self._clock = clock
        self._settings = settings
        self._limits = dict(limits or {})
        self._pulse = pulse
        self._parts: dict[str, Any] = {}
        self._health: dict[str, tuple[Health, list[str]]] = {}
        self._busy: dict[str, bool] = {}
        self._nodes: dict[str, NodeState] = {}
        self._stopped: tuple[Mode | None, str | None] = (None, None)
        self._behind = 0
        # A change that is sent at once, and any change.
        self._large = asyncio.Event()
        self._changed = asyncio.Event()

    def update(self, driver: str, **changes: Unpack[StateChange]) -> None:
        """Take over what a driver says; parts that several drivers know are the latest one's."""
        parts: dict[str, Any] = dict(changes)
        parts.pop("estop_inputs", None)  # the safety node's
        if "health" in parts or "health_reasons" in parts:
            before = self._health.get(driver, ("ok", []))
            reasons = [reason[:1024] for reason in parts.pop("health_reasons", before[1])]
            self._health[driver] = (parts.pop("health", before[0]), reasons)
            if self._health[driver] != before:
                self._note()
        if "busy" in parts:
            busy = parts.pop("busy")
            if self._busy.get(driver) != busy:
                self._busy[driver] = busy
                self._note()
        for key, value in parts.items():
            if value is None or _sound(value):
                self._set(key, value)

    def override(self, mode: Mode | None, reason: str | None) -> None:
        """The safety node's mode, which stands above what drivers say; None: it has nothing to say."""
        stopped = (mode, reason if mode else None)
        if stopped != self._stopped:
            self._stopped = stopped
            self._note()

    def changed(self) -> None:
        """Something that is asked for when the state is put together has changed."""
        self._note()

    def node(self, name: str, state: NodeState) -> None:
        """A node's status has changed."""
        self._nodes[name] = state
        self._note()

    def about(self, about: About) -> None:
        """Fill in what the configuration left open."""
        known = msgspec.structs.asdict(about)
        mine = {key: value for key, value in msgspec.structs.asdict(self._about).items() if value is not None}
        merged = About(**{**known, **mine})
        if merged != self._about:
            self._about = merged
            self._note()

    def snapshot(self) -> State:
        """The whole state now."""
        calibration = self._calibration()  # before the verdict, since it may notice what belongs into it
        health, reasons = self._verdict()
        stopped, why = self._stopped
        return State(
            mode=stopped or self._parts.get("mode", "auto"),
            health=health,
            mode_reason=why if stopped else self._parts.get("mode_reason"),
            health_reasons=reasons,
            busy=any(self._busy.values()) if self._busy else None,
            doing=self._parts.get("doing"),
            about=self._about,
            pose=self._parts.get("pose"),
            geo=self._parts.get("geo"),
            battery=self._parts.get("battery"),
            nodes=dict(self._nodes),
            limits=self._limits,
            link=self._link(),
            calibration=calibration,
        )

    async def run(self) -> None:
        """Send the state at once, then whenever it changes and every period, for ever."""
        while True:
            await self.flush(always=True)
            sent = self._clock.monotonic()
            with self._pulse:
                if not await wait_event(self._large, self._clock, 1.0 / self._settings.max_rate):
                    # The rate's pause is over; from now on a small change counts as well.
                    await self._wait_for_change(sent + self._settings.period)

    async def flush(self, *, always: bool = False) -> None:
        """Send the state now if it changed since the last time, or `always`."""
        if always or self._changed.is_set():
            self._changed.clear()
            self._large.clear()
            state = self.snapshot()
            self._behind = state.link.backlog if state.link else 0
            await self._send(state)

    async def _wait_for_change(self, until: float) -> None:
        while (left := until - self._clock.monotonic()) > 0:
            patience = min(left, SYNCING_PERIOD) if self._behind > SYNCING else left
            if await wait_event(self._changed, self._clock, patience):
                return
            if self._behind > SYNCING and self._link().backlog < self._behind:
                return

    def _set(self, key: str, value: Any) -> None:
        if key == "doing" and value is not None:
            value = value[:256]
        elif key == "mode_reason" and value is not None:
            value = value[:1024]
        elif key == "geo" and value is not None:
            value = clean_geo(value)
        if self._parts.get(key) != value:
            self._parts[key] = value
            self._note(large=key not in SMALL)

    def _note(self, *, large: bool = True) -> None:
        """Something has changed."""
        self._changed.set()
        if large:
            self._large.set()

    def _verdict(self) -> tuple[Health, list[str]]:
        verdicts = list(self._health.values())
        for name, node in self._nodes.items():
            if node.status in ("failed", "backoff"):
                health: Health = "error" if node.status == "failed" else "warning"
                verdicts.append((health, [f"{name}: {node.error}"[:1024]]))
        worst: Health = max((verdict[0] for verdict in verdicts), key=_WORST.index, default="ok")
        reasons = [reason for verdict in verdicts for reason in verdict[1]]
        return worst, reasons[:64]


def _sound(value: object) -> bool:
    """Whether a part can be sent: a position that is not a number would make the hub refuse the whole state."""
    numbers: tuple[float, ...] = ()
    if isinstance(value, Pose):
        numbers = (value.x, value.y, value.z, value.yaw)
    elif isinstance(value, Geo):
        return abs(value.lat) <= 90 and abs(value.lon) <= 180
    elif isinstance(value, Battery):
        return 0.0 <= value.level <= 1.0
    return all(math.isfinite(number) for number in numbers)
