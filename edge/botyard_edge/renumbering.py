"""A message under another number, when its epoch ends before the hub has it."""

from dataclasses import replace

import msgspec

from botyard_edge.outbox import Entry
from botyard_schemas import decode, encode


def renumbered(entry: Entry, epoch: str, seq: int) -> Entry:
    """The same message in another epoch. A notice tells of the epoch that ends, so it becomes a message like others,
    which is kept. Raises WireError when the message cannot be read."""
    payload = encode(msgspec.structs.replace(decode(entry.payload), epoch=epoch, seq=seq))
    return replace(entry, seq=seq, payload=payload, keep=entry.keep or entry.notice, notice=False)
