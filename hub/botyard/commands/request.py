"""Checking what somebody wants of a robot."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from botyard.store.base import CommandRow
from botyard_schemas import Envelope, WireError
from botyard_schemas.codec import decode, encode
from botyard_schemas.messages import Command

# What every robot understands; everything else is what its drivers offer, which may be another `stop`. There is none
# that clears an emergency stop.
WELL_KNOWN = {
    "safety.stop": "stop every motion now",
    "safety.safe": "go to safe mode",
}
DEFAULT_EXPIRY = 60.0
SHORTEST_EXPIRY, LONGEST_EXPIRY = 1.0, 7 * 86400.0
MAX_BYTES = 64 * 1024
WIDEST = 2**53 - 1  # what a double keeps, and so every reader of JSON


class CommandRefusedError(Exception):
    """The command is not taken in, and why; `field` names what is wrong with the request, if it is that."""

    def __init__(self, kind: Literal["invalid", "conflict", "full"], sentence: str, field: str | None = None) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What somebody wants of a robot, to be begun within `expires_in` seconds. `id` makes asking twice harmless."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)
    expires_in: float = DEFAULT_EXPIRY
    id: str | None = None


def envelope_of(row: CommandRow, now: int) -> Envelope:
    """The message that carries the command."""
    body = Command(row.id, row.name, row.expires, row.args, cause=row.actor[:128])
    return Envelope(robot=row.robot, ts=now, body=body)


def question_of(row: CommandRow, now: int) -> Envelope:
    """The message that asks what has become of a command: a copy whose deadline has passed by any clock. A robot that
    executes it does nothing, one that has done so says again how it ended, and one that knows nothing of it refuses."""
    return envelope_of(msgspec.structs.replace(row, expires=0), now)


def row_of(robot: str, wanted: Wanted, spare_id: str, actor: str, now: int) -> CommandRow:
    """The command as it is kept. Raises CommandRefusedError when its message would not keep the contract."""
    if not SHORTEST_EXPIRY <= wanted.expires_in <= LONGEST_EXPIRY:
        raise CommandRefusedError(
            "invalid",
            f"{wanted.expires_in:g} is not between {SHORTEST_EXPIRY:g} s and {LONGEST_EXPIRY:g} s (seven days)",
            "expires_in",
        )
    row = CommandRow(
        id=wanted.id or spare_id,
        robot=robot,
        name=wanted.name,
        args=wanted.args,
        created=now,
        expires=now + round(wanted.expires_in * 1e6),
        actor=actor,
        status="queued",
        changed=now,
    )
    try:
        decode(encode(envelope_of(row, row.created)), limit=MAX_BYTES)
    except WireError as error:
        path, _, sentence = str(error).partition(": ")
        path = path.removeprefix("body.")
        known = path.split(".")[0].split("[")[0]
        if sentence and known in ("id", "name", "args"):
            raise CommandRefusedError("invalid", sentence, path) from error
        raise CommandRefusedError("invalid", str(error), "args") from error
    except (ValueError, TypeError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise CommandRefusedError("invalid", str(error), "args") from error
    for path, number in _immense(wanted.args, "args"):
        shown = str(number) if abs(number) < 10**20 else f"an integer of {number.bit_length()} bits"
        raise CommandRefusedError("invalid", f"{shown} is beyond {WIDEST}, the largest integer of the contract", path)
    return row


def _immense(value: object, path: str) -> Iterator[tuple[str, int]]:
    """Integers that not every robot can read, and where they are."""
    if isinstance(value, int) and abs(value) > WIDEST:
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _immense(part, f"{path}.{key}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _immense(part, f"{path}[{index}]")


def same(known: CommandRow, row: CommandRow) -> CommandRow:
    """The known command, if this asks for the same. Raises CommandRefusedError."""
    if (known.robot, known.name, known.args) != (row.robot, row.name, row.args):
        raise CommandRefusedError("conflict", f"{row.id!r} is the id of another command already", "id")
    return known
