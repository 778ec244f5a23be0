"""STATUSTEXT: what the autopilot says in words, put together and kept from flooding the hub.

A text longer than 50 characters comes in chunks with one id (https://mavlink.io/en/messages/common.html#STATUSTEXT).
"""

from typing import Any, NamedTuple

from botyard_edge.driver import Severity
from botyard_schemas.clock import Clock

CHUNK = 50
MAX_CHUNKS = 16
MAX_PARTS = 8  # texts of which only a part has come
# Events are kept until the hub has them, so a vehicle that says the same for ever has a budget of them.
BURST, PER_SECOND = 20.0, 0.5

_SEVERITIES: tuple[Severity, ...] = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")


class Said(NamedTuple):
    """A text, whole. `skipped`: how many before it were not told."""

    severity: Severity
    text: str
    told: bool
    skipped: int


class Texts:
    """Takes chunks, gives texts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._parts: dict[int, dict[int, str]] = {}
        self._budget = BURST
        self._since = clock.monotonic()
        self._skipped = 0

    def take(self, message: Any) -> Said | None:
        """The text that a message completes. A chunk that was lost leaves a gap, which is told as "…"."""
        text = _decoded(message.text)
        if message.id != 0:
            parts = self._parts.setdefault(message.id, {})
            if message.chunk_seq < MAX_CHUNKS:
                parts[message.chunk_seq] = text
            if len(text) >= CHUNK and message.chunk_seq < MAX_CHUNKS - 1:
                while len(self._parts) > MAX_PARTS:
                    del self._parts[next(iter(self._parts))]
                return None
            del self._parts[message.id]
            text = "".join(parts.get(number, "…") for number in range(max(parts, default=-1) + 1))
        text = "".join(letter if letter.isprintable() else " " for letter in text).strip()
        if not text:
            return None
        severity: Severity = _SEVERITIES[message.severity] if message.severity < len(_SEVERITIES) else "info"
        told = self._may_tell()
        skipped, self._skipped = (self._skipped, 0) if told else (0, self._skipped + 1)
        return Said(severity, text, told, skipped)

    def _may_tell(self) -> bool:
        now = self._clock.monotonic()
        self._budget = min(BURST, self._budget + (now - self._since) * PER_SECOND)
        self._since = now
        if self._budget < 1.0:
            return False
        self._budget -= 1.0
        return True


def _decoded(text: Any) -> str:
    return text if isinstance(text, str) else bytes(text).rstrip(b"\0").decode("utf-8", "replace")
