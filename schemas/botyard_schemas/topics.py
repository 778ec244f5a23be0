"""The MQTT topics of the wire contract; no other module spells one out."""

import functools
import re
from typing import NamedTuple

ROOT = "botyard/v1"
ALL_UP = f"{ROOT}/+/up/+"
ALL_PRESENCE = f"{ROOT}/+/presence"

# A topic of ours has at most 20 characters beside the robot's id and the message's type.
MAX_LENGTH = 128

ROBOT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Address(NamedTuple):
    """What a topic says: whose it is, in which direction, and which type of message travels there."""

    robot: str
    direction: str
    type: str


def up(robot: str, message_type: str) -> str:
    """Topic on which a robot sends messages of one type."""
    return f"{ROOT}/{robot}/up/{message_type}"


def down(robot: str, message_type: str) -> str:
    """Topic on which the hub sends messages of one type to a robot."""
    return f"{ROOT}/{robot}/down/{message_type}"


def all_down(robot: str) -> str:
    """Filter for everything that the hub sends to a robot."""
    return down(robot, "+")


def presence(robot: str) -> str:
    """Topic of the robot's retained presence."""
    return f"{ROOT}/{robot}/presence"


def parse(topic: str) -> Address | None:
    """Take a topic apart; None when it is not one of ours."""
    return _parse(topic) if len(topic) <= MAX_LENGTH else None


@functools.lru_cache(maxsize=65536)
def _parse(topic: str) -> Address | None:
    """As `parse`. Topics repeat, so each is taken apart once."""
    parts = topic.split("/")
    if len(parts) < 4 or parts[0] != "botyard" or parts[1] != "v1":
        return None
    if len(parts) == 4 and parts[3] == "presence":
        return Address(parts[2], "up", "presence")
    if len(parts) == 5 and parts[3] in ("up", "down"):
        return Address(parts[2], parts[3], parts[4])
    return None
