"""Which time stamps are absurd: those of a clock that never learned the time, or that runs far ahead."""

from typing import Any

import msgspec

from botyard.core.config import IngestConfig
from botyard_schemas import Envelope, Reason, Telemetry, WireError
from botyard_schemas.clock import Clock
from botyard_schemas.messages import SEQUENCED, Event


class TimeCheck:
    """Takes what has absurd times out of messages. One bad group of samples does not take its neighbours along."""

    def __init__(self, config: IngestConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._oldest = config.oldest_us
        self._future = int(config.max_future * 1e6)

    def window(self, now: int) -> tuple[int, int]:
        """The earliest and the latest time that is not absurd."""
        return self._oldest, now + self._future

    def split(self, envelope: Envelope, raw: dict[str, Any]) -> tuple[Envelope | None, WireError | None]:
        """The message without what has absurd times, None when nothing is left; and what is wrong with that."""
        if envelope.type not in SEQUENCED:
            return envelope, None  # presence and time are about now, whatever the robot's clock says
        now = self._clock.now()
        if not self._oldest <= envelope.ts <= now + self._future:
            return None, WireError(Reason.TIME, self._absurd("ts", envelope.ts, now) or "", raw)
        body = envelope.body
        if isinstance(body, Event) and (problem := self._absurd("body.dt", envelope.ts + body.dt, now)):
            return None, WireError(Reason.TIME, problem, raw)
        if not isinstance(body, Telemetry):
            return envelope, None
        lowest, highest = self._oldest - envelope.ts, now + self._future - envelope.ts
        if all(lowest <= min(group.dt) and max(group.dt) <= highest for group in body.groups):
            return envelope, None
        return self._without_absurd_groups(envelope, body, now, raw)

    def _without_absurd_groups(
        self, envelope: Envelope, body: Telemetry, now: int, raw: dict[str, Any]
    ) -> tuple[Envelope | None, WireError]:
        problems = [
            self._absurd(f"body.groups[{index}].dt", envelope.ts + min(group.dt), now)
            or self._absurd(f"body.groups[{index}].dt", envelope.ts + max(group.dt), now)
            for index, group in enumerate(body.groups)
        ]
        found = next(problem for problem in problems if problem)
        groups = [group for group, problem in zip(body.groups, problems, strict=True) if problem is None]
        kept = msgspec.structs.replace(envelope, body=Telemetry(groups)) if groups else None
        return kept, WireError(Reason.TIME, found, raw)

    def _absurd(self, field: str, ts: int, now: int) -> str | None:
        """What is wrong with a time stamp, or None."""
        if ts < self._oldest:
            return f"{field}: {ts} µs is before {self._config.oldest} (ingest.oldest)"
        if ts > now + self._future:
            allowed = f"at most {self._config.max_future:g} s are allowed (ingest.max_future)"
            return f"{field}: {ts} µs is {(ts - now) / 1e6:.0f} s in the future, {allowed}"
        return None
