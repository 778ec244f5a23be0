"""What can still be said of a message that is refused."""

import re
from typing import Any

from botyard.plugin.api import Inbound
from botyard.store.base import QuarantineRow
from botyard_schemas import WireError, topics
from botyard_schemas.messages import SEQUENCED

# How much of a refused message is kept, in bytes, and of the sentence about it, in characters.
KEPT_PAYLOAD = 4096
KEPT_DETAIL = 1024
KEPT_TOPIC = 512
UP_TYPES = SEQUENCED | {"presence", "time"}
MAX_SEQ = 2**53 - 1
# Bytes in which the head of an envelope is looked for.
HEAD = 512

_EPOCH = re.compile(rb'"epoch"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
_SEQ = re.compile(rb'"seq"\s*:\s*([0-9]{1,16})[^0-9.eE]')


def quarantine_row(message: Inbound, error: WireError, robot: str | None) -> QuarantineRow:
    """What is kept of a refused message."""
    return QuarantineRow(
        received=message.received,
        robot=robot,
        topic=message.topic[:KEPT_TOPIC] or None,
        reason=error.reason.value,
        detail=str(error)[:KEPT_DETAIL].encode("utf-8", "replace").decode(),
        size=len(message.payload),
        payload=message.payload[:KEPT_PAYLOAD].decode("utf-8", "replace").replace("\0", "\\0"),
    )


def number_of(raw: dict[str, Any]) -> tuple[str, str, int] | None:
    """Robot, epoch and sequence number of a message that is not valid otherwise, when they are; types that this hub
    does not know may have them, too."""
    robot, epoch, seq, kind = (raw.get(key) for key in ("robot", "epoch", "seq", "type"))
    if not isinstance(kind, str) or kind in UP_TYPES - SEQUENCED:
        return None
    if not isinstance(robot, str) or not isinstance(epoch, str) or not topics.ROBOT_ID.fullmatch(epoch):
        return None
    if isinstance(seq, bool) or not isinstance(seq, int | float) or not 0 < seq <= MAX_SEQ or seq != int(seq):
        return None
    return robot, epoch, int(seq)


def number_in(payload: bytes, address: topics.Address) -> tuple[str, str, int] | None:
    """The same of a message that is no JSON, or too much of it: what its head says, where envelopes begin with it."""
    head = payload[:HEAD]
    epoch, seq = _EPOCH.search(head), _SEQ.search(head)
    if address.type in UP_TYPES - SEQUENCED or epoch is None or seq is None:
        return None
    number = int(seq[1])
    return (address.robot, epoch[1].decode(), number) if 0 < number <= MAX_SEQ else None


def session_of(raw: dict[str, Any]) -> str | None:
    """What a presence message calls its connection, None for any other message."""
    if raw.get("type") != "presence":
        return None
    body = raw.get("body")
    session = body.get("session") if isinstance(body, dict) else None
    return session if isinstance(session, str) else None


def wants_back(raw: dict[str, Any]) -> bool:
    """Whether it is the presence message in which a retired robot says that it takes part again."""
    body = raw.get("body")
    return raw.get("type") == "presence" and isinstance(body, dict) and body.get("reason") == "returned"
