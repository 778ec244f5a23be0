"""What could not be used of a device's lines, counted, and said at intervals in one sentence."""

import asyncio
from collections import Counter

from botyard_schemas.clock import Clock

FIRST, AGAIN = 5.0, 60.0  # s from the first unusable line to the first sentence, and between two sentences


class Noise:
    """Counts lines."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._begun = asyncio.Event()
        self._kinds: Counter[str] = Counter()
        self._used = 0
        self._last = b""
        self._pause = FIRST
        self.total = 0

    def used(self) -> None:
        """A line could be used."""
        self._used += 1

    def unusable(self, kind: str, line: bytes) -> None:
        """A line could not."""
        self._kinds[kind] += 1
        self.total += 1
        self._last = line
        self._begun.set()

    async def next(self) -> tuple[str, dict[str, int]]:
        """The next sentence, when it is due, and the counts."""
        await self._begun.wait()
        await self._clock.sleep(self._pause)
        self._pause = AGAIN
        self._begun.clear()
        kinds, used, self._kinds, self._used = self._kinds, self._used, Counter(), 0
        unusable = kinds.total()
        parts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        hint = "; is the baud rate right?" if 2 * kinds["not text"] > unusable + used else ""
        last = repr(self._last[:60])[1:]
        sentence = f"{unusable} of {unusable + used} lines could not be used: {parts}; the last was {last}{hint}"
        return sentence, dict(kinds)
