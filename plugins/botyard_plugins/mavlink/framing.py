"""Messages in a stream of bytes, whatever else is in it.

Layout of a frame (https://mavlink.io/en/guide/serialization.html): MAVLink 2 begins with 0xFD, has ten bytes of header
(1 length of the payload, 2 incompatible flags, 7 to 9 the kind of message), payload, two bytes of checksum, and 13 of
a signature when bit 0 of the flags is set; MAVLink 1 begins with 0xFE and has six bytes of header (5 the kind).

pymavlink decodes a whole frame. Where one begins is found here: pymavlink's own parser takes noise for a frame when it
begins like one, and gives up with it the messages that begin within it. A kind that is not known has a checksum that
cannot be checked, so it is passed over byte by byte: whatever is a message of a known kind is found.
"""

from collections.abc import Iterator
from typing import Any

V1, V2 = 0xFE, 0xFD
SIGNED = 0x01
SIGNATURE = 13
MAX_FRAME = 10 + 255 + 2 + SIGNATURE


class Framer:
    """Bytes in, messages out."""

    def __init__(self, dialect: Any) -> None:
        self._dialect = dialect
        self._decoder = dialect.MAVLink(None)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take in what has come; the messages that it completes. Less than a frame is kept."""
        buffer = self._buffer
        buffer += data
        at = 0
        try:
            while at < len(buffer):
                size = self._size(at)
                if size is None or at + size > len(buffer):
                    break
                message = self._decoded(at, size) if size else None
                at += 1 if message is None else size
                if message is not None:
                    yield message
        finally:
            del buffer[:at]

    def _size(self, at: int) -> int | None:
        """Bytes of the frame that begins there; 0: none does, None: too little of it has come to know."""
        buffer = self._buffer
        if buffer[at] not in (V1, V2):
            return 0
        if len(buffer) - at < 6:
            return None
        length, flags = buffer[at + 1], buffer[at + 2]
        if buffer[at] == V1:
            kind = self._dialect.mavlink_map.get(buffer[at + 5])
            # Known this early, so that two bytes of noise hold up what follows for a moment only.
            return 6 + length + 2 if kind is not None and length <= kind.unpacker.size else 0
        if flags & ~SIGNED:
            return 0
        return 10 + length + 2 + (SIGNATURE if flags & SIGNED else 0)

    def _decoded(self, at: int, size: int) -> Any:
        """The message there, None: there is none."""
        try:
            message = self._decoder.decode(self._buffer[at : at + size])
        except self._dialect.MAVError:
            return None
        return None if isinstance(message, self._dialect.MAVLink_unknown) else message
