"""The short way for telemetry and heartbeats: what nearly every message of a fleet is, checked in a third of the time.

`decode_telemetry` and `decode_heartbeat` take a message apart straight into its class, and accept only what the schemas
accept, too; the tests prove that. Whatever they do not recognise they leave to `codec`, which finds the words.
"""

import re
from collections.abc import Callable
from types import NoneType
from typing import Any, Literal

import jsonschema_rs
import msgspec

from botyard_schemas.messages import Channel, Telemetry
from botyard_schemas.nesting import MAX_DEPTH, nests_deeper
from botyard_schemas.validation import schema

MAX_KNOWN = 100_000
_WIDEST = 2**53 - 1  # the largest integer of the contract

_ONLY: dict[str, frozenset[type]] = {
    "number": frozenset((float, int, NoneType)),
    "integer": frozenset((int, NoneType)),
    "boolean": frozenset((bool, NoneType)),
    "text": frozenset((str, NoneType)),
    "pose": frozenset((dict, NoneType)),
    "geo": frozenset((dict, NoneType)),
    "object": frozenset((dict, list, NoneType)),
}


class FastTelemetry(msgspec.Struct, frozen=True, gc=False):
    """A telemetry message. `body` keeps the contract only as far as `sound` says so."""

    v: Literal[1]
    robot: str
    epoch: str
    seq: int
    ts: int
    type: Literal["telemetry"]
    body: Telemetry
    robot_ts: int | msgspec.UnsetType = msgspec.UNSET
    unsynced: Any = msgspec.UNSET  # whose stamps are to be corrected: not for the short way


# What a class calls optional may be absent, but not null.
_NO_UNIT = re.compile(rb'"unit"\s*:\s*null').search

_decode = msgspec.json.Decoder(FastTelemetry).decode


def decode_telemetry(payload: bytes) -> FastTelemetry | None:
    """The message, or None when it is not telemetry as it usually is."""
    try:
        found = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not 1 <= found.seq <= _WIDEST or not 0 <= found.ts <= _WIDEST:
        return None
    if found.unsynced is not msgspec.UNSET:
        return None
    if isinstance(found.robot_ts, int) and not 0 <= found.robot_ts <= _WIDEST:
        return None
    return found


class _Beat(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    status: Literal["online"]
    reason: Literal["heartbeat"]
    session: str
    since: int = 0
    interval: float | None = None


class Heartbeat(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A presence message that says nothing new, if session and interval are those that are known of the robot."""

    v: Literal[1]
    robot: str
    ts: int
    type: Literal["presence"]
    body: _Beat


_decode_beat = msgspec.json.Decoder(Heartbeat).decode


def decode_heartbeat(payload: bytes) -> Heartbeat | None:
    """The message, or None when it is not a heartbeat as it usually is. Session and interval are not checked."""
    if b"null" in payload:
        return None
    try:
        found = _decode_beat(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if 0 <= found.ts <= _WIDEST and 0 <= found.body.since <= _WIDEST else None


class Vocabulary:
    """Channels whose name, type and unit are known to be allowed, so that each is checked only once."""

    def __init__(self) -> None:
        self._known: set[tuple[str, str, str | None]] = set()

    def learn(self, body: Telemetry) -> None:
        """Remember the channels of a body that keeps the contract."""
        for group in body.groups:
            for channel in group.channels:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known.add((channel.name, channel.type, channel.unit))

    def sound(self, body: Telemetry, lowest: int, highest: int, payload: bytes) -> int:
        """The number of samples in a body that keeps the contract and whose times are between `lowest` and `highest`,
        relative to the envelope's; -1 when that cannot be said here. `payload` is the message it is from."""
        known, samples, units = self._known, 0, True
        groups = body.groups
        if not 1 <= len(groups) <= 1024:
            return -1
        for group in groups:
            times = group.dt
            count = len(times)
            if count == 1:
                if not lowest <= times[0] <= highest:
                    return -1
            elif count == 0 or count > 65536 or min(times) < lowest or max(times) > highest:
                return -1
            if not 1 <= len(group.channels) <= 4096:
                return -1
            for channel in group.channels:
                values, kind, unit = channel.values, channel.type, channel.unit
                if len(values) != count or (channel.name, kind, unit) not in known:
                    return -1
                if unit is None:
                    units = False
                if count == 1 and type(values[0]) is float and kind == "number":
                    samples += 1  # the most usual one
                elif (found := _samples(channel)) < 0:
                    return -1
                else:
                    samples += found
        # looked for only where it can be: this costs as much as several channels
        return samples if units or b"null" not in payload or not _NO_UNIT(payload) else -1


def _samples(channel: Channel) -> int:
    """How many values a column has that are not null; -1 when they are not certainly of its type."""
    values, kind = channel.values, channel.type
    only = _ONLY.get(kind)
    types = set(map(type, values))
    if only is None or not types <= only:
        return -1
    holes = values.count(None) if NoneType in types else 0
    present = [value for value in values if value is not None] if holes else values
    if int in types and present and not (min(present) >= -_WIDEST and max(present) <= _WIDEST):
        return -1
    if kind == "object" and nests_deeper(present, MAX_DEPTH):
        return -1
    if kind == "text" and present and len(max(present, key=len)) > 65536:
        return -1
    if (check := _CHECKS.get(kind)) and not all(map(check, present)):
        return -1
    return len(values) - holes


def _compiled(name: str) -> Callable[[Any], bool]:
    whole = schema("telemetry")
    part = {"$ref": f"#/$defs/{name}", "$defs": whole["$defs"]}
    return jsonschema_rs.Draft202012Validator(part).is_valid


_CHECKS = {name: _compiled(name) for name in ("pose", "geo")}
