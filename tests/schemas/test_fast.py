"""The short way for telemetry accepts nothing that the schemas refuse, and nearly all that they allow."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_schemas import Envelope, Presence, Telemetry, WireError, decode
from botyard_schemas.fast import Vocabulary, decode_heartbeat, decode_telemetry
from botyard_schemas.nesting import MAX_DEPTH
from tests.strategies import ANYTHING, messages

WIDE = 2**60


class Everything(set[Any]):
    """As if every channel had been seen before."""

    def __contains__(self, _: object) -> bool:
        return True


def short_way(payload: bytes) -> tuple[Envelope, int] | None:
    """What the short way makes of it: the message and the number of its samples, or None."""
    found = decode_telemetry(payload)
    if found is None:
        return None
    vocabulary = Vocabulary()
    vocabulary.learn(found.body)
    samples = vocabulary.sound(found.body, -WIDE, WIDE, payload)
    if samples < 0:
        return None
    robot_ts = None if found.robot_ts is msgspec.UNSET else found.robot_ts
    envelope = Envelope(found.robot, found.ts, found.body, found.epoch, found.seq, robot_ts)
    return envelope, samples


def long_way(payload: bytes) -> Envelope | None:
    try:
        return decode(payload, limit=1 << 24)
    except WireError:
        return None


def names_are_allowed(envelope: Envelope) -> bool:
    """The short way takes channels that were seen before, so the names of others are not its business."""
    raw = {"v": 1, "robot": "r", "epoch": "e", "seq": 1, "ts": 1, "type": "telemetry"}
    assert isinstance(envelope.body, Telemetry)
    for group in envelope.body.groups:
        for channel in group.channels:
            one = {"name": channel.name, "type": "object", "values": [{}]} | (
                {} if channel.unit is None else {"unit": channel.unit}
            )
            if long_way(json.dumps({**raw, "body": {"groups": [{"dt": [0], "channels": [one]}]}}).encode()) is None:
                return False
    return bool(
        long_way(
            json.dumps(
                {
                    **raw,
                    "robot": envelope.robot,
                    "epoch": envelope.epoch,
                    "body": {"groups": [{"dt": [0], "channels": [{"name": "x", "values": [1]}]}]},
                }
            ).encode()
        )
    )


@settings(max_examples=300, deadline=None)
@given(messages("telemetry"))
def test_message_that_the_schemas_allow_means_the_same_on_both_ways(raw: dict[str, Any]) -> None:
    payload = json.dumps(raw).encode()
    short, long = short_way(payload), long_way(payload)
    if short is not None:
        assert short[0] == long
        assert isinstance(short[0].body, Telemetry)
        values = [v for group in short[0].body.groups for channel in group.channels for v in channel.values]
        assert short[1] == len(values) - values.count(None)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


@settings(max_examples=500, deadline=None)
@given(messages("telemetry"), st.data())
def test_message_with_something_else_somewhere_is_not_accepted_by_the_short_way_alone(
    raw: dict[str, Any], data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(raw)))
        if key in container if isinstance(container, dict) else key < len(container):
            if data.draw(st.booleans()):
                container[key] = data.draw(ANYTHING)
            else:
                del container[key]
    payload = json.dumps(raw).encode()
    short = short_way(payload)
    if short is not None and names_are_allowed(short[0]):
        assert short[0] == long_way(payload)


@given(st.binary(max_size=200))
def test_any_bytes_are_left_to_the_long_way(payload: bytes) -> None:
    assert short_way(payload) is None or long_way(payload) is not None


USUAL = {"v": 1, "robot": "r", "epoch": "e", "seq": 1, "ts": 5, "type": "telemetry"}
COLUMNS: list[tuple[dict[str, Any], int]] = [
    ({"values": [1.5]}, 1),
    ({"values": [1, 2.5, None]}, 2),
    ({"type": "integer", "values": [2**53 - 1]}, 1),
    ({"type": "boolean", "values": [True, None]}, 1),
    ({"type": "text", "values": ["a"]}, 1),
    ({"type": "pose", "values": [{"frame": "hall", "x": 1, "y": 2.5, "yaw": 0}]}, 1),
    ({"type": "geo", "values": [{"lat": 52.5, "lon": 13.4}, None]}, 1),
    ({"type": "object", "values": [{}, [1, {"a": "b"}], None]}, 2),
]


def nested(depth: int) -> dict[str, Any]:
    """An object in so many others."""
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"a": found}
    return found


OTHERS: list[dict[str, Any]] = [
    {"values": ["1.5"]},
    {"values": [True]},
    {"values": [2**53]},
    {"type": "integer", "values": [1.5]},
    {"type": "integer", "values": [2**53]},
    {"type": "text", "values": ["a" * 65537]},
    {"type": "pose", "values": [{"frame": "hall", "x": 1}]},
    {"type": "geo", "values": [{"lat": 99.0, "lon": 13.4}]},
    {"type": "object", "values": ["{}"]},
    {"type": "object", "values": [nested(MAX_DEPTH)]},
    {"type": "colour", "values": [1]},
    {"unit": None, "values": [1.5]},
]


def telemetry(column: dict[str, Any], **changes: Any) -> bytes:
    group = {"dt": list(range(len(column["values"]))), "channels": [{"name": "x", **column}]}
    return json.dumps({**USUAL, "body": {"groups": [group]}, **changes}).encode()


@pytest.mark.parametrize(("column", "samples"), COLUMNS)
def test_usual_column_takes_the_short_way(column: dict[str, Any], samples: int) -> None:
    short = short_way(telemetry(column))
    assert short is not None
    assert short == (long_way(telemetry(column)), samples)


@pytest.mark.parametrize("column", OTHERS)
def test_unusual_column_is_left_to_the_long_way(column: dict[str, Any]) -> None:
    assert short_way(telemetry(column)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 0},
        {"seq": 2**53},
        {"ts": -1},
        {"robot_ts": -1},
        {"robot_ts": None},
        {"v": 2},
        {"type": "state"},
        {"body": {"groups": []}},
        {"unsynced": {"boot": "b", "steady": 1}},
        {"unsynced": None},
    ],
    ids=str,
)
def test_unusual_envelope_is_left_to_the_long_way(changes: dict[str, Any]) -> None:
    assert short_way(telemetry({"values": [1.5]}, **changes)) is None


def test_channel_that_was_not_seen_before_and_time_out_of_bounds_are_left_to_the_long_way() -> None:
    payload = telemetry({"values": [1.5, 2.5]})
    found = decode_telemetry(payload)
    assert found is not None
    vocabulary = Vocabulary()
    assert vocabulary.sound(found.body, -10, 10, payload) == -1
    vocabulary.learn(found.body)
    assert vocabulary.sound(found.body, -10, 10, payload) == 2
    assert vocabulary.sound(found.body, -10, 0, payload) == vocabulary.sound(found.body, 1, 10, payload) == -1


# --- heartbeats

ENVELOPE = {"v": 1, "robot": "r", "ts": 7, "type": "presence"}
BEAT = {"status": "online", "reason": "heartbeat", "session": "s", "since": 5, "interval": 5.0}


@settings(max_examples=300, deadline=None)
@given(messages("presence"), st.booleans())
def test_heartbeat_that_the_short_way_takes_means_the_same_on_the_long_one(raw: dict[str, Any], likely: bool) -> None:
    if likely:
        raw["body"] |= {"status": "online", "reason": "heartbeat"}
    payload = json.dumps(raw).encode()
    short, long = decode_heartbeat(payload), long_way(payload)
    if short is not None:
        assert long is not None
        assert isinstance(long.body, Presence)
        assert (short.robot, short.ts) == (long.robot, long.ts)
        assert (short.body.status, short.body.reason) == (long.body.status, long.body.reason)
        assert (short.body.session, short.body.interval) == (long.body.session, long.body.interval)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*ENVELOPE, *BEAT, "epoch", "seq", "new"]), ANYTHING)
def test_heartbeat_with_one_strange_field_is_refused_by_the_short_way_if_by_the_long_one(name: str, value: Any) -> None:
    raw: dict[str, Any] = ENVELOPE | {"body": BEAT | ({name: value} if name in BEAT else {})}
    if name not in BEAT:
        raw[name] = value
    payload = json.dumps(raw).encode()
    if (short := decode_heartbeat(payload)) is not None and long_way(payload) is None:
        # what a hub compares with what it knows need not be looked at here
        assert name in ("robot", "session", "interval")
        assert isinstance(value, (str, int, float))
        assert short.body.session != "s" or short.robot != "r" or short.body.interval != 5.0


def test_usual_heartbeat_goes_the_short_way() -> None:
    assert decode_heartbeat(json.dumps(ENVELOPE | {"body": BEAT}).encode()) is not None
