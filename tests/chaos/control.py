"""What the campaign tells running processes: by how much their clocks are off, and that drivers shall end.

A small file that both sides have in memory: it is read at each look at the clock, so it must cost nothing.
"""

import mmap
import struct
from pathlib import Path
from typing import Self

from botyard_schemas.clock import SystemClock

_LAYOUT = struct.Struct("<q?")


class Control:
    """Shared by the campaign, which writes, and one process after the other, which read."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the file: clocks are right, and nobody shall end."""
        path.write_bytes(_LAYOUT.pack(0, False))
        return cls(path)

    @property
    def shift(self) -> int:
        """By how much the process's clock is ahead, in microseconds."""
        return int(_LAYOUT.unpack_from(self._memory)[0])

    @shift.setter
    def shift(self, microseconds: int) -> None:
        _LAYOUT.pack_into(self._memory, 0, microseconds, self.ending)

    @property
    def ending(self) -> bool:
        """Whether drivers shall come to their end."""
        return bool(_LAYOUT.unpack_from(self._memory)[1])

    def end(self) -> None:
        """Let drivers come to their end."""
        _LAYOUT.pack_into(self._memory, 0, self.shift, True)


class ShiftedClock(SystemClock):
    """The system's clocks, of which the wall clock jumps as the campaign says."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def now(self) -> int:
        return super().now() + self._control.shift
