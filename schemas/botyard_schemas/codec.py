"""Bytes to checked, typed messages, and back."""

import enum
from collections.abc import Iterator
from typing import Any

import msgspec

from botyard_schemas.messages import BODIES, SEQUENCED, Body, Command, Envelope, Event, Report, Telemetry, Unsynced
from botyard_schemas.nesting import MAX_DEPTH, nests_deeper
from botyard_schemas.validation import first_error, shortened, validator

VERSION = 1

# Largest message that is looked into, in bytes, unless the caller says otherwise.
DEFAULT_LIMIT = 256 * 1024


class _Unnumbered(msgspec.Struct, gc=False):
    """A message as it goes over the wire when it has neither number nor a time of its own clock."""

    v: int
    robot: str
    ts: int
    type: str
    body: Body


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class Reason(enum.StrEnum):
    """Why a message was refused. The names are part of the API: counters and quarantine use them."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed_json"
    VERSION = "wrong_version"
    SCHEMA = "schema"
    UNKNOWN_TYPE = "unknown_type"
    MISMATCH = "topic_mismatch"
    TIME = "absurd_time"
    UNKNOWN_ROBOT = "unknown_robot"
    REFUSED = "refused"
    RETIRED = "retired_robot"


class WireError(ValueError):
    """A message that does not keep the contract. `raw` is what could be parsed of its envelope, or None."""

    def __init__(self, reason: Reason, message: str, raw: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.raw = raw


def encode(envelope: Envelope) -> bytes:
    """The envelope as JSON. NaN and infinities become null, since JSON has neither."""
    if not envelope.epoch and envelope.robot_ts is None and envelope.unsynced is None:  # a hub sends thousands
        return _encoder.encode(_Unnumbered(VERSION, envelope.robot, envelope.ts, envelope.type, envelope.body))
    message: dict[str, Any] = {"v": VERSION, "robot": envelope.robot}
    if envelope.epoch:
        message["epoch"] = envelope.epoch
        message["seq"] = envelope.seq
    message["ts"] = envelope.ts
    if envelope.robot_ts is not None:
        message["robot_ts"] = envelope.robot_ts
    if envelope.unsynced is not None:
        message["unsynced"] = envelope.unsynced
    message["type"] = envelope.type
    message["body"] = envelope.body
    return _encoder.encode(message)


def parse(payload: bytes, *, limit: int = DEFAULT_LIMIT) -> dict[str, Any]:
    """The envelope as a JSON object, checked for size, JSON and version only. Raises WireError."""
    if len(payload) > limit:
        raise WireError(Reason.OVERSIZED, f"the message has {len(payload)} bytes, at most {limit} are allowed")
    try:
        raw = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise WireError(Reason.MALFORMED, f"not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise WireError(Reason.SCHEMA, f"a message is a JSON object, this is {_json_type(raw)}")
    version = raw.get("v")
    if version != VERSION or isinstance(version, bool):
        said = shortened(repr(version))
        raise WireError(Reason.VERSION, f"v: {said} is not a version that is spoken here, expected {VERSION}", raw)
    return raw


def check(raw: dict[str, Any]) -> Envelope:
    """Validate a parsed envelope and its body, and make the typed message. Raises WireError."""
    _validate("envelope", raw, "", raw)
    kind = raw["type"]
    body_type = BODIES.get(kind)
    if body_type is None:
        raise WireError(Reason.UNKNOWN_TYPE, f"type: {kind!r} is none of {', '.join(BODIES)}", raw)
    _validate(kind, raw["body"], "body", raw)
    try:
        body: Body = msgspec.convert(raw["body"], body_type, strict=False)
    except msgspec.ValidationError as error:  # a rule that the classes know and the schema does not
        raise WireError(Reason.SCHEMA, f"body: {error}", raw) from error
    if isinstance(body, Telemetry):
        _check_columns(body, raw)
    for name, value in _free_parts(body):
        if nests_deeper(value, MAX_DEPTH):
            raise WireError(Reason.SCHEMA, f"body.{name}: nests deeper than {MAX_DEPTH} levels", raw)
    sequenced = kind in SEQUENCED
    return Envelope(
        robot=raw["robot"],
        ts=int(raw["ts"]),
        body=body,
        epoch=raw["epoch"] if sequenced else "",
        seq=int(raw["seq"]) if sequenced else 0,
        robot_ts=raw.get("robot_ts"),
        unsynced=msgspec.convert(raw["unsynced"], Unsynced, strict=False) if "unsynced" in raw else None,
    )


def decode(payload: bytes, *, limit: int = DEFAULT_LIMIT) -> Envelope:
    """Bytes from the wire to a message that keeps the contract. Raises WireError, whose text names the field."""
    return check(parse(payload, limit=limit))


def _validate(name: str, instance: Any, root: str, raw: dict[str, Any]) -> None:
    try:
        if validator(name).is_valid(instance):
            return
        sentence = first_error(validator(name), instance, root=root)
    except ValueError as error:  # the validator follows nesting only so far
        sentence = f"{root or 'the message'}: cannot be checked: {error}"
    raise WireError(Reason.SCHEMA, sentence or f"{root or 'the message'}: does not match the schema", raw)


def _check_columns(telemetry: Telemetry, raw: dict[str, Any]) -> None:
    """What JSON Schema cannot say: columns are as long as their times."""
    for i, group in enumerate(telemetry.groups):
        for channel in group.channels:
            if len(channel.values) != len(group.dt):
                lengths = f"{len(channel.values)} values for {len(group.dt)} times"
                raise WireError(Reason.SCHEMA, f"body.groups[{i}]: channel {channel.name!r} has {lengths}", raw)


def _free_parts(body: Body) -> Iterator[tuple[str, Any]]:
    """The parts of a message in which anything may stand, with their names."""
    match body:
        case Event(data=data):
            yield "data", data
        case Command(args=args):
            yield "args", args
        case Report(result=result):
            yield "result", result
        case Telemetry(groups=groups):
            for i, group in enumerate(groups):
                for j, channel in enumerate(group.channels):
                    if channel.type == "object":
                        yield f"groups[{i}].channels[{j}].values", channel.values


def _json_type(value: object) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
