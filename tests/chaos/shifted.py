"""The hub and the robots as users start them, but with clocks that jump, and robots that keep a journal.

`python -m tests.chaos.shifted hub --config …` and `python -m tests.chaos.shifted run robot.yaml …` are `botyard` and
`botyard-edge` with these arguments. What is put in their places are only things that they take as arguments anyway.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

from botyard_edge.durable import SqliteOutbox
from botyard_edge.hubtime import Stamp
from botyard_edge.writing import GROUP, Durability
from botyard_schemas import Event, Telemetry
from botyard_schemas.messages import TYPE_OF, Body
from tests.chaos.control import Control, ShiftedClock
from tests.chaos.counting import CHANNEL, CONTROL, MARK, note
from tests.chaos.journal import spans_text


class JournaledOutbox(SqliteOutbox):
    """The outbox as it is, which notes what number each message got, and what is acknowledged."""

    def __init__(
        self,
        robot: str,
        path: Path,
        *,
        durability: Durability = GROUP,
        on_trouble: Callable[[str | None], None] = lambda _: None,
        **rest: Any,
    ) -> None:
        self._on_each = durability.mode == "each"
        self._ill = False

        def heard(trouble: str | None) -> None:
            self._ill = trouble is not None
            on_trouble(trouble)

        super().__init__(robot, path, durability=durability, on_trouble=heard, **rest)

    async def put(self, body: Body, *, ts: int | None = None, wait: bool = False, stamp: Stamp | None = None) -> int:
        seq = await super().put(body, ts=ts, wait=wait, stamp=stamp)
        durable = self._on_each and not self._ill
        kind, numbers = TYPE_OF[type(body)], spans_text(numbers_in(body))
        note(f"I {self.epoch} {seq} {kind} {durable:d} {numbers}")
        return seq

    def ack(self, epoch: str, seq: int) -> None:
        before = self.acknowledged
        super().ack(epoch, seq)
        if self.acknowledged > before:
            note(f"A {self.acknowledged}")


def numbers_in(body: Body) -> list[int]:
    """The driver's numbers in a message: samples of its channel, or the number of its event."""
    if isinstance(body, Telemetry):
        channels = [channel for group in body.groups for channel in group.channels if channel.name == CHANNEL]
        return [int(value) for channel in channels for value in channel.values if value is not None]
    return [int(body.data["n"])] if isinstance(body, Event) and body.name == MARK else []


def main() -> int:
    """Run one of the two commands."""
    clock = ShiftedClock(Control(Path(os.environ[CONTROL])))
    if sys.argv[1] == "hub":
        from botyard.cli.entry import main as botyard

        with patch("botyard.core.hub.SystemClock", lambda: clock):
            botyard()
        return 0
    from botyard_edge.cli import main as botyard_edge

    with (
        patch("botyard_edge.cli.SystemClock", lambda: clock),
        patch("botyard_edge.runtime.SqliteOutbox", JournaledOutbox),
    ):
        return botyard_edge(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
