"""A message under another number, when its epoch ends before the hub has it."""

from dataclasses import replace
from typing import Any

import msgspec

from botyard_edge.outbox import Entry

_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def renumbered(entry: Entry, epoch: str, seq: int) -> Entry:
    """The same message in another epoch. A notice tells of the epoch that ends, so it becomes a message like others,
    which is kept. Raises ValueError when the message is no JSON object.

    Whether it keeps the contract is not asked: that is the hub's to judge, and one that does not must not stand in the
    way of the others.
    """
    try:
        message: dict[str, Any] = dict(_decode(entry.payload))
    except msgspec.DecodeError as error:
        raise ValueError(f"message {entry.seq} is no JSON object: {error}") from error
    message |= {"epoch": epoch, "seq": seq}
    payload = msgspec.json.encode(message)
    return replace(entry, seq=seq, payload=payload, keep=entry.keep or entry.notice, notice=False)
