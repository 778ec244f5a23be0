"""What the robot's sensors show, tick by tick, gathered in columns until it is published."""

from collections.abc import Iterable, Sequence
from typing import Any

from botyard_edge.driver import Port

RATE = 10  # Hz, of the fastest sensor
STEP = 1.0 / RATE  # s
MICROSECONDS = 1_000_000 // RATE  # of a step


class Sheet:
    """Samples of channels that are measured together: a row for each tick at which they were."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(names)
        self._ticks: list[int] = []
        self._rows: list[Sequence[Any]] = []

    def __bool__(self) -> bool:
        return bool(self._ticks)

    def add(self, tick: int, row: Sequence[Any]) -> None:
        """The samples of one tick, in the order of the names."""
        self._ticks.append(tick)
        self._rows.append(row)

    def latest(self, name: str) -> Any:
        """The last sample of a channel. Raises IndexError when there is none."""
        return self._rows[-1][self._names.index(name)]

    async def publish(self, port: Port, epoch: int) -> None:
        """Publish what was gathered, and forget it. `epoch` is the time of tick 0."""
        ticks, rows = self._ticks, self._rows
        self._ticks, self._rows = [], []
        if len(rows) == 1:
            row = dict(zip(self._names, rows[0], strict=True))
            await port.publish(row, ts=epoch + ticks[0] * MICROSECONDS)
        else:
            columns = dict(zip(self._names, zip(*rows, strict=True), strict=True))
            await port.publish_columns([epoch + tick * MICROSECONDS for tick in ticks], columns)


class Ticks:
    """Which ticks have passed, on a steady clock, and when each was in hub time.

    A robot that was suspended for over `BEHIND` seconds does not catch up: its ticks begin anew. `block` ticks are
    dealt with at once.
    """

    BEHIND = 2.0
    # What a clock may wake too early, in parts of a tick, and what the hub's time may move before it is followed: us.
    EARLY, MOVED = 1e-3, 20_000

    def __init__(self, now: int, steady: float, block: int) -> None:
        self._block = block
        self._began = steady
        self._epoch = now
        self.done = 0

    def passed(self, steady: float) -> range:
        """The ticks that have passed and were not given before, up to this moment of the steady clock."""
        due = int((steady - self._began) * RATE + self.EARLY) + 1
        if due - self.done > self._block + self.BEHIND * RATE:
            self._epoch += round((steady - self._began - self.done * STEP) * 1e6)
            self._began = steady - self.done * STEP
            due = self.done + 1
        ticks = range(self.done, due)
        self.done = max(due, self.done)
        return ticks

    def at(self, tick: int) -> float:
        """When a tick is, on the steady clock."""
        return self._began + tick * STEP

    def wait(self, steady: float) -> float:
        """Seconds until the next block is complete."""
        due = self.done - 1 + self._block - (self.done - 1) % self._block
        return max(0.0, self._began + due * STEP - steady)

    def epoch(self, now: int, steady: float) -> int:
        """The time of tick 0: even from tick to tick, as long as the hub's time goes evenly."""
        epoch = now - round((steady - self._began) * 1e6)
        if abs(epoch - self._epoch) > self.MOVED:
            self._epoch = epoch
        return self._epoch
