"""What the core wants done, in this order of urgency: bring to rest, remember, tell."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from botyard_schemas.messages import Event, Report

Level = Literal["safe", "estop"]
Record = dict[str, Any]


class ClearRefusedError(Exception):
    """What was latched cannot be cleared now. The sentence says which cause lasts."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the robot must not move. A `latched` one stays after its end (`active` False) until it is cleared at the
    robot. `since` is in microseconds since 1970, hub time."""

    level: Level
    kind: str
    source: str
    reason: str
    since: int
    latched: bool
    active: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """Bring the robot to rest; `hard`: by the drivers' `halt` first."""

    reason: str
    hard: bool = False


@dataclass(frozen=True, slots=True)
class HandOver:
    """End what moves the robot, and leave the drivers alone: a person has taken over."""

    reason: str


@dataclass(frozen=True, slots=True)
class Keep:
    """Have these causes on the disk before anything else happens."""

    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class Return:
    """Once at rest, execute the command that brings the robot home, through the same gate as any other."""

    command: str


@dataclass(frozen=True, slots=True)
class Note:
    """Add a record to the ledger of commands."""

    record: Record


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the hub what happened."""

    event: Event


@dataclass(frozen=True, slots=True)
class Answer:
    """Tell the hub what became of a command that nobody executes any more."""

    report: Report


Effect = Rest | HandOver | Return | Keep | Note | Tell | Answer


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a command on arrival: `args` for the driver (None: it is not executed), or a `report` to answer
    with (None beside None: it is being executed already). `sync`: the ledger must be on the disk before it begins."""

    args: Mapping[str, Any] | None = None
    report: Report | None = None
    sync: bool = False
