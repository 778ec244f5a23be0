"""What a robot says about itself while it runs, to a pipe whose other end outlives it: one line each, whole or not at
all, since the kernel writes so few bytes at once.

* `D first last`: the driver is about to hand over these numbers; `M n`: an event with this number.
* `I epoch seq kind durable numbers`: a message entered the outbox and got its number; it holds these numbers of the
  driver. `durable` is 1 when the outbox had promised that it is on the disk.
* `A seq`: the hub has acknowledged everything up to here. `E`: the driver has come to its end.
* `L`: the campaign starts the robot.
"""

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

Span = tuple[int, int]

# So that the campaign hears at once that a robot's line was read: it is the last line of a life.
_SYNC = "S"


def spans_text(numbers: Iterable[int]) -> str:
    """Numbers as `1-5,8-8`; `-` for none."""
    spans: list[list[int]] = []
    for number in sorted(numbers):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{first}-{last}" for first, last in spans) or "-"


def read_spans(text: str) -> list[Span]:
    """The other way round."""
    if text == "-":
        return []
    pairs = [span.split("-") for span in text.split(",")]
    return [(int(first), int(last)) for first, last in pairs]


@dataclass(frozen=True, slots=True)
class Issued:
    """A message that got its number. `at`: when the campaign heard of it, on its steady clock."""

    epoch: str
    seq: int
    kind: str
    durable: bool
    numbers: tuple[Span, ...]
    at: float


@dataclass(slots=True)
class Life:
    """One process of a robot: what its driver handed over, and whether it came to its end."""

    handed: list[Span] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    last: str = ""
    ended: bool = False


@dataclass(slots=True)
class Book:
    """Everything that is known of one robot."""

    robot: str
    durability: str
    lives: list[Life] = field(default_factory=list)
    issued: list[Issued] = field(default_factory=list)
    acknowledged: int = 0
    next_number: int = 0
    next_mark: int = 0

    def take(self, line: str, at: float) -> None:
        """Take in a line of the journal. Raises ValueError or IndexError for what is none."""
        kind, *words = line.split(" ")
        match kind:
            case "L":
                self.lives.append(Life())
            case "D":
                first, last = int(words[0]), int(words[1])
                self.lives[-1].handed.append((first, last))
                self.next_number = last + 1
            case "M":
                self.lives[-1].marks.append(int(words[0]))
                self.next_mark = int(words[0]) + 1
            case "I":
                epoch, seq, message, durable, numbers = words
                spans = tuple(read_spans(numbers))
                self.issued.append(Issued(epoch, int(seq), message, durable == "1", spans, at))
            case "A":
                self.acknowledged = int(words[0])
            case "E":
                self.lives[-1].ended = True
            case _:
                raise ValueError(f"no line of a journal: {line!r}")
        if self.lives and kind in "DM":
            self.lives[-1].last = kind

    @property
    def head(self) -> int:
        """The last number that a message got."""
        return self.issued[-1].seq if self.issued else 0


class Journal:
    """Reads what one robot says, and keeps it in a file for people."""

    def __init__(self, book: Book, folder: Path) -> None:
        self.book = book
        self._reading, self.writing = os.pipe()
        self._read = threading.Event()
        self._file = (folder / f"journal-{book.robot}.log").open("a", encoding="ascii")
        self._thread = threading.Thread(target=self._run, name=f"journal-{book.robot}", daemon=True)
        self._thread.start()

    def begin_life(self) -> None:
        """The robot is about to be started: what its last life said is read to its end before this returns."""
        self._read.clear()
        os.write(self.writing, f"L\n{_SYNC}\n".encode())
        assert self._read.wait(10), "the journal is not read"

    def sync(self) -> None:
        """Wait until everything is read that was said so far."""
        self._read.clear()
        os.write(self.writing, f"{_SYNC}\n".encode())
        assert self._read.wait(10), "the journal is not read"

    def close(self) -> None:
        """When no robot writes any more."""
        os.close(self.writing)
        self._thread.join(10)
        os.close(self._reading)
        self._file.close()

    def _run(self) -> None:
        with os.fdopen(os.dup(self._reading), encoding="ascii") as lines:
            for line in lines:
                word = line.rstrip("\n")
                if word == _SYNC:
                    self._file.flush()
                    self._read.set()
                    continue
                now = time.monotonic()
                self._file.write(f"{now:.3f} {line}")
                self.book.take(word, now)
