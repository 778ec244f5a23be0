"""How far a command has come: a state machine, moved by the hub and by the robot's reports. `TABLE` is all of it.

Reports may come late, twice and out of order. What the robot says counts for more than what the hub assumed: a command
that was given up and is executed all the same has been executed. And having executed counts for more than having
refused, since a robot that forgot what it did refuses the copy that comes after the deadline. So may a robot end what
the hub has written off as lost.
"""

import enum

import msgspec

from botyard.store.base import CommandRow, CommandStatus
from botyard_schemas.messages import Report


class Stage(enum.Enum):
    """A state of the machine. Who gave a command up, the hub or the robot, makes two states of one status."""

    QUEUED = "queued"
    SENT = "sent"
    ACCEPTED = "accepted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    GIVEN_UP = "expired, says the hub"
    WITHDRAWN = "cancelled, says the hub"


class Sign(enum.Enum):
    """What moves the machine, in the words of the docs."""

    SEND = "sent to the robot"
    DEADLINE = "nobody answered until the deadline"
    WITHDRAW = "cancelled at the hub"
    LOST = "nothing is heard of it any more"
    ACCEPTED = "report `accepted`"
    RUNNING = "report `running`"
    REJECTED = "report `rejected`"
    EXPIRED = "report `expired`"
    SUCCEEDED = "report `succeeded`"
    FAILED = "report `failed`"
    CANCELLED = "report `cancelled`"


UNANSWERED = (Stage.QUEUED, Stage.SENT)
FORGOTTEN = "the robot had begun it, and knows nothing of it any more"
ASSUMED = (Stage.GIVEN_UP, Stage.WITHDRAWN)
BEGUN = (Stage.ACCEPTED, Stage.RUNNING)
_REFUSED = (Stage.REJECTED, Stage.EXPIRED)
# Where each sign leads from each state; a sign that is not named for a state changes nothing there.
TABLE: dict[Sign, dict[Stage, Stage]] = {
    Sign.SEND: {Stage.QUEUED: Stage.SENT},
    Sign.DEADLINE: dict.fromkeys(UNANSWERED, Stage.GIVEN_UP),
    Sign.WITHDRAW: dict.fromkeys(UNANSWERED, Stage.WITHDRAWN),
    Sign.LOST: dict.fromkeys(BEGUN, Stage.EXPIRED),
    Sign.ACCEPTED: dict.fromkeys((*UNANSWERED, *ASSUMED), Stage.ACCEPTED),
    Sign.RUNNING: dict.fromkeys((*UNANSWERED, Stage.ACCEPTED, *ASSUMED), Stage.RUNNING),
    Sign.REJECTED: dict.fromkeys((*UNANSWERED, *BEGUN, *ASSUMED), Stage.REJECTED),
    Sign.EXPIRED: dict.fromkeys((*UNANSWERED, *BEGUN, *ASSUMED), Stage.EXPIRED),
    Sign.SUCCEEDED: dict.fromkeys((*UNANSWERED, *BEGUN, *_REFUSED, *ASSUMED), Stage.SUCCEEDED),
    Sign.FAILED: dict.fromkeys((*UNANSWERED, *BEGUN, *_REFUSED, *ASSUMED), Stage.FAILED),
    Sign.CANCELLED: dict.fromkeys((*UNANSWERED, *BEGUN, *_REFUSED, *ASSUMED), Stage.CANCELLED),
}
_STATUS: dict[Stage, CommandStatus] = {
    Stage.QUEUED: "queued",
    Stage.SENT: "sent",
    Stage.ACCEPTED: "accepted",
    Stage.RUNNING: "running",
    Stage.SUCCEEDED: "succeeded",
    Stage.FAILED: "failed",
    Stage.CANCELLED: "cancelled",
    Stage.REJECTED: "rejected",
    Stage.EXPIRED: "expired",
    Stage.GIVEN_UP: "expired",
    Stage.WITHDRAWN: "cancelled",
}
_ASSUMED_OF = {"expired": Stage.GIVEN_UP, "cancelled": Stage.WITHDRAWN}


def stage_of(command: CommandRow) -> Stage:
    """Where the command is: what has no answer and ended all the same, the hub ended."""
    if command.answered is None and command.status in _ASSUMED_OF:
        return _ASSUMED_OF[command.status]
    return Stage(command.status)


def is_open(command: CommandRow) -> bool:
    """Whether something is still to be expected of it."""
    return stage_of(command) in (*UNANSWERED, *BEGUN)


def moved(command: CommandRow, sign: Sign, at: int, reason: str | None = None) -> CommandRow:
    """The command after something that the hub did or noticed at `at` (µs); the same object when it changes nothing."""
    after = TABLE[sign].get(stage_of(command))
    if after is None:
        return command
    return msgspec.structs.replace(command, status=_STATUS[after], changed=at, reason=reason)


def answered(command: CommandRow, report: Report, at: int) -> CommandRow:
    """The command after a report that was made at `at` (µs); the same object when it changes nothing. A robot that has
    begun something and says later that it came too late answers the hub's question, and has forgotten what it did."""
    before = stage_of(command)
    after = TABLE[Sign[report.status.upper()]].get(before)
    first = at if command.answered is None else min(at, command.answered)
    if after is None:
        progressed = before is Stage.RUNNING and report.status == "running" and report.progress is not None
        if progressed and report.progress > (command.progress or 0.0):  # type: ignore[operator]
            return msgspec.structs.replace(command, progress=report.progress, answered=first)
        return command
    return msgspec.structs.replace(
        command,
        status=_STATUS[after],
        changed=at,
        reason=FORGOTTEN if before in BEGUN and after is Stage.EXPIRED else report.reason,
        progress=command.progress if report.progress is None else report.progress,
        answered=first,
        late=command.late or before in ASSUMED,
    )
