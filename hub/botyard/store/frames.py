"""What travels between the hub and its SQLite processes: frames of a length and a msgpack array, over private pipes.

Msgpack, because encoding happens in the hub's loop: it takes a half to a fifth of pickle's time there. Imported by the
helper processes, so: standard library and msgspec only.
"""

from typing import BinaryIO

import msgspec

LOWEST, HIGHEST = -(2**63), 2**63 - 1  # what a column of a database can hold

# Epochs of a robot whose positions are kept: twice what ingest remembers. One that restarts without a disk begins a new
# epoch each time. And how many rows of a robot that has more are deleted at once.
KEPT_EPOCHS, EPOCHS_AT_ONCE = 16, 100

LENGTH = 4  # bytes of the length before each frame, big-endian

OK, FAILED, KEY = "ok", "failed", "key"


class Request(msgspec.Struct, frozen=True, array_like=True):
    """The `n`-th request; what is in `body` depends on `op`."""

    n: int
    op: str
    body: bytes


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The answer to request `n` (0 is the greeting): a body when `outcome` is OK, else an error's sentence or key."""

    n: int
    outcome: str
    body: bytes


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """The last request of this session that is in the database, and what was answered."""

    n: int
    answer: bytes


_encoder = msgspec.msgpack.Encoder()


def frame(message: Request | Answer) -> bytearray:
    """The message as it travels. Raises OverflowError beyond 4 GiB."""
    buffer = bytearray(LENGTH)
    _encoder.encode_into(message, buffer, LENGTH)
    buffer[:LENGTH] = (len(buffer) - LENGTH).to_bytes(LENGTH, "big")
    return buffer


def read(stream: BinaryIO) -> bytes | None:
    """The next frame's content from a blocking stream; None when the other side is gone."""
    head = stream.read(LENGTH)
    if len(head) < LENGTH:
        return None
    size = int.from_bytes(head, "big")
    content = stream.read(size)
    return content if len(content) == size else None
