"""The MQTT topics of the contract."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_schemas import topics
from botyard_schemas.topics import Address

ROBOTS = st.from_regex(topics.ROBOT_ID, fullmatch=True)
TYPES = st.from_regex(r"[a-z][a-z0-9_]{0,31}", fullmatch=True)


def _matches(pattern: str, topic: str) -> bool:
    """MQTT's own rule for filters with `+`."""
    levels, parts = pattern.split("/"), topic.split("/")
    return len(levels) == len(parts) and all(level in ("+", part) for level, part in zip(levels, parts, strict=True))


@given(robot=ROBOTS, kind=TYPES)
def test_topics_that_are_made_are_understood(robot: str, kind: str) -> None:
    assert topics.parse(topics.up(robot, kind)) == Address(robot, "up", kind)
    assert topics.parse(topics.down(robot, kind)) == Address(robot, "down", kind)
    assert topics.parse(topics.presence(robot)) == Address(robot, "up", "presence")


@given(robot=ROBOTS, kind=TYPES)
def test_topic_filters_match_what_they_are_for_and_nothing_else(robot: str, kind: str) -> None:
    made = [topics.up(robot, kind), topics.down(robot, kind), topics.presence(robot)]
    assert [_matches(topics.ALL_UP, topic) for topic in made] == [True, False, False]
    assert [_matches(topics.ALL_PRESENCE, topic) for topic in made] == [False, False, True]
    assert [_matches(topics.all_down(robot), topic) for topic in made] == [False, True, False]
    assert not _matches(topics.all_down(robot + "x"), topics.down(robot, kind))


def test_topics_are_those_of_the_design() -> None:
    assert topics.up("picker-7", "telemetry") == "botyard/v1/picker-7/up/telemetry"
    assert topics.down("picker-7", "ack") == "botyard/v1/picker-7/down/ack"
    assert topics.presence("picker-7") == "botyard/v1/picker-7/presence"


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "botyard",
        "botyard/v1",
        "botyard/v1/r",
        "botyard/v1/r/up",
        "botyard/v1/r/sideways/state",
        "botyard/v1/r/up/state/more",
        "botyard/v1/r/presence/more",
        "botyard/v2/r/up/state",
        "Botyard/v1/r/up/state",
        "/botyard/v1/r/up/state",
        "$SYS/broker/uptime",
    ],
)
def test_parse_of_a_foreign_topic_is_none(topic: str) -> None:
    assert topics.parse(topic) is None


@given(topic=st.text(max_size=40))
def test_parse_of_any_text_never_raises(topic: str) -> None:
    topics.parse(topic)


@pytest.mark.parametrize("robot", ["", "a.b", "a b", "a/b", "a+b", "#", "ä", "x" * 65, "a\n"])
def test_robot_id_that_is_not_allowed_does_not_match(robot: str) -> None:
    assert topics.ROBOT_ID.fullmatch(robot) is None
