"""Where a listing goes on (cursors, opaque to whoever carries them), and how far."""

import base64
import binascii

import msgspec

from botyard.store.base import InvalidCursorError
from botyard.store.frames import HIGHEST, LOWEST

_sample_key = msgspec.json.Decoder(tuple[int, str, str, int])


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


SampleKey = tuple[int, str, str, int]  # time, robot, channel, and which of those with the same of all three


def encode_sample(key: SampleKey) -> str:
    """The cursor of a listing of samples that goes on after `key`; safe in URLs."""
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")


def decode_sample(cursor: str) -> SampleKey:
    """The key in a cursor that `encode_sample` made. Raises InvalidCursorError."""
    refusal = InvalidCursorError(f"cursor: {cursor[:80]!r} did not come from this listing; leave it out to start anew")
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        key = _sample_key.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise refusal from error
    if encode_sample(key) != cursor or not LOWEST <= key[0] <= HIGHEST or key[3] < 0:
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
