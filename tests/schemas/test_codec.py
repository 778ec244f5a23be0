"""Bytes to messages and back."""

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_schemas import (
    DEFAULT_LIMIT,
    Channel,
    Envelope,
    Event,
    Group,
    Reason,
    State,
    Telemetry,
    WireError,
    decode,
    encode,
)
from botyard_schemas.messages import BODIES, SEQUENCED, NodeState
from botyard_schemas.nesting import MAX_DEPTH
from botyard_schemas.validation import schema, validator
from tests.strategies import ANYTHING, envelopes, messages


def _message(kind: str = "event", *, body: Any = None, **fields: Any) -> dict[str, Any]:
    message = {"v": 1, "robot": "picker-7", "epoch": "e1", "seq": 1, "ts": 1763712000123456, "type": kind}
    return {**message, "body": {"name": "docked", "severity": "info"} if body is None else body, **fields}


def _refusal(message: Any) -> WireError:
    with pytest.raises(WireError) as refused:
        decode(message if isinstance(message, bytes) else json.dumps(message).encode())
    return refused.value


@pytest.mark.parametrize("name", sorted(BODIES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_codec_round_trip_of_every_message_type_changes_nothing(name: str, data: st.DataObject) -> None:
    envelope = data.draw(envelopes(name))
    payload = encode(envelope)
    assert decode(payload) == envelope
    assert envelope.type == name
    raw = json.loads(payload)
    assert validator("envelope").is_valid(raw)
    assert validator(name).is_valid(raw["body"])


@pytest.mark.parametrize("name", sorted(BODIES))
def test_codec_examples_of_the_schemas_are_read(name: str) -> None:
    for example in schema(name)["examples"]:
        envelope = decode(json.dumps(_message(name, body=example)).encode())
        assert isinstance(envelope.body, BODIES[name])
        assert (envelope.epoch, envelope.seq) == (("e1", 1) if name in SEQUENCED else ("", 0))


@settings(max_examples=300, deadline=None)
@given(payload=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_decode_of_arbitrary_bytes_raises_nothing_but_wire_errors(payload: bytes) -> None:
    with pytest.raises(WireError) as refused:
        decode(payload)
    assert str(refused.value)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_decode_of_damaged_messages_raises_nothing_but_wire_errors(data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(sorted(BODIES)).flatmap(messages))
    key = data.draw(st.sampled_from(sorted(raw)))
    inside = raw["body"] if key == "body" and raw["body"] and data.draw(st.booleans()) else raw
    inside[data.draw(st.sampled_from(sorted(inside)))] = data.draw(ANYTHING)
    payload = bytearray(json.dumps(raw).encode())
    if data.draw(st.booleans()):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        assert decode(bytes(payload)).type in BODIES


@pytest.mark.parametrize(
    ("message", "reason", "sentence"),
    [
        (_message(v=2), Reason.VERSION, "v: 2 is not a version that is spoken here, expected 1"),
        (_message(v=True), Reason.VERSION, "v: True is not a version"),
        ({}, Reason.VERSION, "v: None is not a version"),
        (_message(robot="a b"), Reason.SCHEMA, 'robot: "a b" does not match'),
        (_message(robot="a\n"), Reason.SCHEMA, 'robot: "a\\n" does not match'),
        (_message(ts=-1), Reason.SCHEMA, "ts: -1 is less than the minimum of 0"),
        (_message(ts=2**53), Reason.SCHEMA, "ts: 9007199254740992 is greater than the maximum"),
        (_message(seq=0), Reason.SCHEMA, "seq: 0 is less than the minimum of 1"),
        (_message(seq=None), Reason.SCHEMA, 'seq: null is not of type "integer"'),
        (_message(type="teleport"), Reason.UNKNOWN_TYPE, "type: 'teleport' is none of telemetry,"),
        (_message(type=["event"]), Reason.SCHEMA, 'type: ["event"] is not of type "string"'),
        (_message(body=[]), Reason.SCHEMA, 'body: [] is not of type "object"'),
        (_message(body={"severity": "info"}), Reason.SCHEMA, 'body: "name" is a required property'),
        (_message(body={"name": "a", "severity": "bad"}), Reason.SCHEMA, 'body.severity: "bad" is not one of'),
        (_message(body={"name": "a", "severity": "info", "dt": 1.5}), Reason.SCHEMA, "body.dt: 1.5 is not of type"),
        ([1], Reason.SCHEMA, "a message is a JSON object, this is an array"),
        (b"null", Reason.SCHEMA, "a message is a JSON object, this is null"),
        (b"", Reason.MALFORMED, "not JSON: "),
        (b'{"v": 1, "ts": NaN}', Reason.MALFORMED, "not JSON: "),
        (b'{"v": 1, "ts": Infinity}', Reason.MALFORMED, "not JSON: "),
        (b'{"v": 1, "ts": 1e999}', Reason.MALFORMED, "not JSON: "),
        (b'{"v": 1, "robot": "\xff"}', Reason.MALFORMED, "not JSON: "),
        (b"\xef\xbb\xbf{}", Reason.MALFORMED, "not JSON: "),
        (b"[" * 100_000, Reason.MALFORMED, "not JSON: "),
        (b" " * (DEFAULT_LIMIT + 1), Reason.OVERSIZED, "the message has 262145 bytes, at most 262144 are allowed"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str | bytes) else None,
)
def test_decode_of_bad_input_names_field_and_value(message: Any, reason: Reason, sentence: str) -> None:
    refused = _refusal(message)
    assert refused.reason == reason
    assert str(refused).startswith(sentence)


def test_decode_refusal_keeps_what_could_be_parsed_of_the_envelope() -> None:
    refused = _refusal(_message(type="teleport"))
    assert refused.raw is not None
    assert refused.raw["robot"] == "picker-7"
    assert _refusal(b"{").raw is None


@pytest.mark.parametrize("name", sorted(SEQUENCED))
def test_decode_of_a_numbered_type_without_number_is_refused(name: str) -> None:
    message = _message(name, body=schema(name)["examples"][0])
    del message["seq"]
    assert str(_refusal(message)) == '"seq" is a required property'


@pytest.mark.parametrize(
    ("kind", "values", "sentence"),
    [
        ("number", [1.0, "2"], 'channels[0].values[1]: "2" is not of types'),
        ("number", [1.0], "channel 'force' has 1 values for 2 times"),
        ("number", [10**400, 1], "channels[0].values[0]: 1000"),
        ("integer", [1, 1.5], "channels[0].values[1]: 1.5 is not of types"),
        ("boolean", [True, 1], "channels[0].values[1]: 1 is not of types"),
        ("text", ["a", 1], "channels[0].values[1]: 1 is not of types"),
        ("pose", [{"frame": "hall", "x": 0, "y": 0}, None], 'channels[0].values[0]: {"frame":"hall"'),
        ("geo", [{"lat": 91, "lon": 0}, None], "channels[0].values[0].lat: 91 is greater than the maximum of 90"),
    ],
)
def test_decode_of_samples_that_are_not_of_the_channels_type_names_the_sample(
    kind: str, values: list[Any], sentence: str
) -> None:
    channel = {"name": "force", "type": kind, "values": values}
    refused = _refusal(_message("telemetry", body={"groups": [{"dt": [0, 1], "channels": [channel]}]}))
    assert refused.reason == Reason.SCHEMA
    assert sentence in str(refused)


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("event", {"name": "a", "severity": "info", "data": {"x": _nested(MAX_DEPTH)}}),
        ("command", {"id": "c", "name": "a", "expires": 1, "args": {"x": _nested(MAX_DEPTH)}}),
        ("report", {"command": "c", "status": "running", "result": {"x": _nested(MAX_DEPTH)}}),
        (
            "telemetry",
            {"groups": [{"dt": [0], "channels": [{"name": "a", "type": "object", "values": [_nested(40)]}]}]},
        ),
    ],
)
def test_decode_of_what_nests_too_deep_is_refused(kind: str, body: Any) -> None:
    assert "nests deeper than 32 levels" in str(_refusal(_message(kind, body=body)))


def test_decode_of_what_nests_just_deep_enough_is_taken() -> None:
    body = {"name": "a", "severity": "info", "data": {"x": _nested(MAX_DEPTH - 1)}}
    assert isinstance(decode(json.dumps(_message(body=body)).encode()).body, Event)


def test_decode_of_a_wrong_field_that_nests_very_deep_is_refused() -> None:
    assert _refusal(_message(body={"name": _nested(800), "severity": "info"})).reason == Reason.SCHEMA
    assert _refusal(_message(body={"name": "a", "severity": "info", "data": _nested(800)})).reason == Reason.SCHEMA


def test_decode_of_a_bad_version_does_not_quote_all_of_it() -> None:
    assert len(str(_refusal(_message(v="x" * 100_000)))) < 500


def test_decode_with_its_own_limit_refuses_what_is_larger() -> None:
    payload = json.dumps(_message()).encode()
    assert decode(payload, limit=len(payload)).robot == "picker-7"
    with pytest.raises(WireError):
        decode(payload, limit=len(payload) - 1)


def test_decode_ignores_fields_that_it_does_not_know() -> None:
    body = {"name": "docked", "severity": "info", "colour": "red"}
    envelope = decode(json.dumps(_message(body=body, hop=3)).encode())
    assert envelope.body == Event(name="docked", severity="info")


def test_encode_of_a_node_without_error_leaves_the_error_out() -> None:
    state = State(mode="auto", health="ok", nodes={"driver": NodeState(status="running", restarts=0)})
    envelope = Envelope(robot="r", ts=1, body=state, epoch="e", seq=1)
    assert decode(encode(envelope)) == envelope


def test_encode_of_nan_writes_null_which_means_no_sample() -> None:
    telemetry = Telemetry(groups=[Group(dt=[0, 1], channels=[Channel(name="force", values=[math.nan, 2.0])])])
    payload = encode(Envelope(robot="r", ts=1, body=telemetry, epoch="e", seq=1))
    body = decode(payload).body
    assert isinstance(body, Telemetry)
    assert body.groups[0].channels[0].values == [None, 2.0]
