"""The process that makes chunks and rollups: `python -m botyard.store.compactor`.

A process, since its work takes as much time of a processor as taking messages in; it gives way to everything else. It
knows no database: work comes in and a plan goes out, both as msgpack (see `compaction`).
"""

import os

import msgspec

from botyard.store import compaction, frames
from botyard.store.compaction import Work
from botyard.store.frames import Answer, Request
from botyard.store.sqlite_process import REFUSALS, serve

NICE = 15

_work = msgspec.msgpack.Decoder(Work)
_pack = msgspec.msgpack.Encoder().encode


class Planner:
    """Keeps nothing between two requests."""

    def open(self) -> None:
        """There is nothing to get ready."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def answer(self, request: Request) -> Answer:
        """Make the plan."""
        if request.op == "ping":
            return Answer(request.n, frames.OK, b"")
        try:
            return Answer(request.n, frames.OK, _pack(compaction.plan(_work.decode(request.body))))
        except REFUSALS as error:
            return Answer(request.n, frames.FAILED, f"telemetry cannot be compacted: {error}".encode(errors="replace"))


def greet() -> bytes:
    """There is nothing to say."""
    os.nice(NICE)
    return b""


if __name__ == "__main__":
    serve(Planner().answer, greet)
