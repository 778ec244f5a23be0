"""Where a listing goes on (cursors, opaque to whoever carries them), and how far."""

import base64
import binascii

from botyard.store.base import InvalidCursorError

LOWEST, HIGHEST = -(2**63), 2**63 - 1  # what a column can hold


def encode(listing: str, *key: int) -> str:
    """The cursor of `listing` that goes on after the row with this key; safe in URLs."""
    text = ":".join([listing, *map(str, key)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str, listing: str, parts: int) -> tuple[int, ...]:
    """The key in a cursor that `encode` made for the same listing. Raises InvalidCursorError."""
    refusal = InvalidCursorError(f"cursor: {cursor[:80]!r} did not come from this listing; leave it out to start anew")
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        name, *numbers = base64.b64decode(padded, altchars=b"-_", validate=True).decode().split(":")
        key = tuple(map(int, numbers))
    except (ValueError, binascii.Error) as error:
        raise refusal from error
    if encode(name, *key) != cursor or name != listing or len(key) != parts:
        raise refusal
    if not all(LOWEST <= number <= HIGHEST for number in key):
        raise refusal
    return key


def clamp(time: int | None, otherwise: int) -> int:
    """A time that the database can compare with; `otherwise` for None."""
    return otherwise if time is None else max(LOWEST, min(HIGHEST, time))


def positive(name: str, value: int) -> int:
    """The value itself. Raises ValueError when it is no positive 64-bit number."""
    if not 0 < value <= HIGHEST:
        raise ValueError(f"{name}: {value} is not a positive number")
    return value
