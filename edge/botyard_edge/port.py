"""The runtime's side of a driver's `Port`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard, Unpack

from botyard_edge.bus import Bus
from botyard_edge.calibration import CalibrationNode
from botyard_edge.driver import DriverError, ReadingError, StateChange
from botyard_edge.outbox import Outbox
from botyard_edge.pulse import Pulse
from botyard_edge.recording import Columns, Sample
from botyard_edge.safety import SafetyNode
from botyard_edge.sendable import fault
from botyard_edge.state import StateKeeper
from botyard_edge.telemetry import TelemetryWriter
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Event, Severity

MESSAGE_LENGTH = 4096


class _Topics(dict[str, str]):
    """A driver's topics by channel, made when they are needed first."""

    def __init__(self, driver: str) -> None:
        super().__init__()
        self._driver = driver

    def __missing__(self, channel: str) -> str:
        topic = self[channel] = f"samples/{self._driver}/{channel}"
        return topic


class RuntimePort:
    """Leads what one driver says to telemetry, outbox, state and bus. Samples are corrected on the way, but for those
    that a recording holds: played again, they would be corrected twice."""

    def __init__(
        self,
        name: str,
        writer: TelemetryWriter,
        outbox: Outbox,
        state: StateKeeper,
        bus: Bus,
        *,
        clock: Clock,
        lossless: bool,
        pulse: Pulse,
        safety: SafetyNode,
        calibration: CalibrationNode,
        watched: Mapping[str, float],
    ) -> None:
        self._name = name
        self._writer = writer
        self._outbox = outbox
        self._state = state
        self._bus = bus
        self._clock = clock
        self._lossless = lossless
        self._pulse = pulse
        self._safety = safety
        self._calibration = calibration
        self._watched = watched
        self._topics = _Topics(name)
        self._closed = False

    def close(self) -> None:
        """Nothing of this driver counts any more: it was abandoned, and another may run in its place."""
        self._closed = True

    async def publish(self, values: Mapping[str, Any], *, ts: int | None = None) -> None:
        with self._open():
            ts = self._clock.now() if ts is None else ts
            said = values
            if self._calibration.corrector is not None:
                values = self._calibration.corrected(values)
            for channel, factor in self._watched.items():
                if channel in said:
                    self._judge(channel, factor, said[channel], values.get(channel))
            await self._writer.publish(ts, values)
            self._bus.publish(f"drivers/{self._name}/sample", Sample(ts, dict(said)))
            for channel, value in values.items():
                self._bus.publish(self._topics[channel], (ts, value))

    async def publish_columns(self, ts: Sequence[int], columns: Mapping[str, Sequence[Any]]) -> None:
        with self._open():
            said = columns
            if self._calibration.corrector is not None:
                columns = self._calibration.corrected_columns(columns)
            for channel, factor in self._watched.items():
                for sample, corrected in zip(said.get(channel, ()), columns.get(channel, ()), strict=False):
                    self._judge(channel, factor, sample, corrected)
            await self._writer.publish_columns(ts, columns)
            if ts:
                copies = {channel: list(column) for channel, column in said.items()}
                self._bus.publish(f"drivers/{self._name}/columns", Columns(list(ts), copies))
                latest = ts[-1]
                for channel, column in columns.items():
                    self._bus.publish(self._topics[channel], (latest, column[-1]))

    async def event(
        self,
        name: str,
        severity: Severity = "info",
        message: str | None = None,
        *,
        data: dict[str, Any] | None = None,
        ts: int | None = None,
        cause: str | None = None,
    ) -> None:
        with self._open():
            now = self._clock.now()
            text = message[:MESSAGE_LENGTH] if message else None
            event = Event(name, severity, text, 0 if ts is None else ts - now, data or {}, cause)
            if (wrong := fault(event)) is not None:
                raise ReadingError(f"an event of driver {self._name} cannot be sent: {wrong}")
            await self._outbox.put(event, ts=now, wait=self._lossless)
            self._bus.publish(f"drivers/{self._name}/event", event)

    async def flush(self) -> None:
        with self._open():
            await self._writer.flush()

    def update_state(self, **changes: Unpack[StateChange]) -> None:
        with self._open():
            self._safety.heard(self._name, changes)
            self._state.update(self._name, **changes)
            self._bus.publish(f"state/{self._name}", changes)

    def alive(self) -> None:
        with self._open():
            pass

    def _judge(self, channel: str, factor: float, said: Any, corrected: Any) -> None:
        """Let the safety node judge a sample as it is, or as far as it can be corrected: a correction that fails must
        not blind it."""
        if said is None:
            return
        if not _is_finite(corrected):
            corrected = self._calibration.corrected_alone(channel, said)
        if _is_finite(corrected):
            self._safety.sampled(channel, corrected * factor)

    def _open(self) -> Pulse:
        if self._closed:
            raise DriverError(f"driver {self._name} did not end when it was told to; nothing of it counts any more")
        return self._pulse


def _is_finite(value: Any) -> TypeGuard[float]:
    """Whether it is a number that can be reckoned with; an integer may be too large for a float."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
