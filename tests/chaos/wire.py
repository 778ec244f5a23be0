"""What was seen of robots on the wire: which message had which number."""

import json
from typing import Any

from tests.chaos.counting import CHANNEL, MARK
from tests.chaos.journal import read_spans, spans_text
from tests.chaos.ledger import Wired
from tests.chaos.packets import Publish

UP = ("telemetry", "event", "state", "report")


class Wire:
    """Takes what a proxy sees. `now` is a steady clock in seconds."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[tuple[str, int], Wired]] = {}
        self.repeated = 0
        self.conflicts: list[str] = []

    def take(self, message: Publish, now: float) -> None:
        """Take in a message of a robot."""
        levels = message.topic.split("/")
        if len(levels) != 5 or levels[3] != "up" or levels[4] not in UP:
            return
        envelope = json.loads(message.payload)
        key = (str(envelope["epoch"]), int(envelope["seq"]))
        numbers = tuple(read_spans(spans_text(numbers_in(envelope))))
        known = self.seen.setdefault(levels[2], {})
        before = known.setdefault(key, Wired(levels[4], numbers, now))
        if before.at != now:
            self.repeated += 1
        if (before.kind, before.numbers) != (levels[4], numbers):
            self.conflicts.append(f"{levels[2]}, epoch {key[0]}: two messages were sent with the number {key[1]}")


def numbers_in(envelope: dict[str, Any]) -> list[int]:
    """The driver's numbers in an envelope, as `shifted.numbers_in`, but from plain JSON."""
    body = envelope["body"]
    if envelope["type"] == "telemetry":
        channels = [channel for group in body["groups"] for channel in group["channels"] if channel["name"] == CHANNEL]
        return [value for channel in channels for value in channel["values"] if value is not None]
    if envelope["type"] == "event" and body["name"] == MARK:
        return [body["data"]["n"]]
    return []
