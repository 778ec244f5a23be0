"""MQTT 3.1.1 packets as bytes, as far as a client that reads a fleet needs them.

Source: MQTT Version 3.1.1, OASIS Standard, sections 2 and 3. Nothing here does input or output.
"""

import enum
import struct
from collections.abc import Sequence
from typing import NamedTuple

from botyard.plugin.api import Inbound

# Of a longer message only so much is kept: it is refused anyway, and its length must not be ours in memory.
MAX_PACKET = 32 * 1024 * 1024
# No other packet of a broker comes near it; a length beyond it means that the stream is no MQTT, or not in step.
MAX_OTHER = 64 * 1024
# Topics repeat; decoding each once is cheaper. Forgotten all at once when there are too many.
MAX_TOPICS = 20_000
# Topics of ours are shorter; longer ones are decoded each time, so that they cannot fill the memory.
MAX_CACHED_TOPIC = 512

REFUSALS = {
    1: "the broker does not speak MQTT 3.1.1",
    2: "the broker does not accept the client id",
    3: "the broker is not available",
    4: "the broker does not accept user name or password",
    5: "the broker does not let this client in",
}


class Kind(enum.IntEnum):
    """Control packet types (section 2.2.1)."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class PacketError(ValueError):
    """The stream is not MQTT as a broker sends it."""


class Publish(Inbound, frozen=True, gc=False):
    """A message, ready for the inbox. `identifier` is the broker's, 0 at QoS 0."""

    identifier: int = 0


class Other(NamedTuple):
    """Any other packet: its kind and what follows the fixed header."""

    kind: int
    body: bytes


PINGREQ = bytes((Kind.PINGREQ << 4, 0))
DISCONNECT = bytes((Kind.DISCONNECT << 4, 0))


class Parser:
    """Takes a stream apart, whatever pieces it comes in.

    Of a message of more than `max_packet` bytes only the first `max_packet` are kept, header and topic included: its
    payload is cut off there. `transport` and `peer` are what its messages say of where they come from.
    """

    def __init__(self, max_packet: int = MAX_PACKET, transport: str = "mqtt", peer: str | None = None) -> None:
        self._max_packet = max_packet
        self._transport = transport
        self._peer = peer
        self._received = 0
        self._topics: dict[bytes, str] = {}
        # The beginning of a packet, in the pieces it came in, which are joined once all `_needed` bytes are there:
        # joining them at each read would take quadratic time.
        self._pieces: list[bytes] = []
        self._held = 0
        self._needed = 0
        # Bytes that are still to come of a message that is too long, and not kept.
        self._dropping = 0

    def feed(self, data: bytes, received: int = 0) -> tuple[list[Publish], list[Other]]:
        """The packets that are complete now, with the time at which they are. Raises PacketError."""
        self._received = received
        publishes: list[Publish] = []
        others: list[Other] = []
        if self._dropping:
            data = self._drop(data, publishes)
            if self._dropping:
                return publishes, others
        if not self._pieces:
            self._take_apart(data, publishes, others)
        else:
            self._pieces.append(data)
            self._held += len(data)
            if self._held >= self._needed:
                buffer, self._pieces = b"".join(self._pieces), []
                self._take_apart(buffer, publishes, others)
            else:
                self._shorten()
        return publishes, others

    def _take_apart(self, buffer: bytes, publishes: list[Publish], others: list[Other]) -> None:
        at, end = 0, len(buffer)
        needed = 2
        while end - at >= 2:
            length, start = buffer[at + 1], at + 2
            if length & 0x80 and end - at >= 3 and buffer[start] < 0x80:  # as most have it
                length, start = length & 0x7F | buffer[start] << 7, start + 1
            elif length & 0x80:
                length, start = _length(buffer, at + 1, end)
                if start == 0:
                    needed = end - at + 1
                    break
            first, stop = buffer[at], start + length
            if length > MAX_OTHER and first >> 4 != Kind.PUBLISH:
                raise PacketError(f"a packet of kind {first >> 4} with {length} bytes")
            if stop > end:
                needed = stop - at
                break
            if first >> 4 == Kind.PUBLISH:
                publishes.append(self._publish(buffer, first, start, stop))
            else:
                others.append(Other(first >> 4, buffer[start:stop]))
            at = stop
            needed = 2
        if at < end:
            self._pieces, self._held, self._needed = [buffer[at:]], end - at, needed
            self._shorten()

    def _shorten(self) -> None:
        """Begin to drop what is beyond the limit."""
        if self._held > self._max_packet and self._needed > self._held:
            self._dropping = self._needed - self._held
            self._pieces = [b"".join(self._pieces)[: self._max_packet]]

    def _drop(self, data: bytes, publishes: list[Publish]) -> bytes:
        """What follows the message that is too long, whose beginning is handed out when all of it has passed."""
        rest = data[self._dropping :]
        self._dropping -= min(len(data), self._dropping)
        if not self._dropping:
            (head,), self._pieces = self._pieces, []
            _, start = _length(head, 1, len(head))
            publishes.append(self._publish(head, head[0], start, len(head)))
        return rest

    def _publish(self, buffer: bytes, first: int, start: int, stop: int) -> Publish:
        name_at = start + 2
        after = name_at + (buffer[start] << 8 | buffer[start + 1]) if name_at <= stop else stop + 1
        with_identifier = first & 0x06
        if after + (2 if with_identifier else 0) > stop:
            raise PacketError("a message is shorter than its own header says")
        raw = buffer[name_at:after]
        topic = self._topics.get(raw)
        if topic is None:
            topic = self._topic(raw)
        identifier = 0
        if with_identifier:
            identifier = buffer[after] << 8 | buffer[after + 1]
            after += 2
        received, transport, peer = self._received, self._transport, self._peer
        return Publish(topic, buffer[after:stop], received, transport, peer, first & 0x01 == 1, identifier)

    def _topic(self, raw: bytes) -> str:
        try:
            topic = raw.decode()
        except UnicodeDecodeError as error:
            raise PacketError("a topic is not UTF-8 text") from error
        if len(raw) > MAX_CACHED_TOPIC:
            return topic
        if len(self._topics) >= MAX_TOPICS:
            self._topics.clear()
        self._topics[raw] = topic
        return topic


def _length(buffer: bytes, at: int, end: int) -> tuple[int, int]:
    """The remaining length and where the packet's body starts; (0, 0) while it is incomplete."""
    length = shift = 0
    for position in range(at, min(at + 4, end)):
        digit = buffer[position]
        length |= (digit & 0x7F) << shift
        if not digit & 0x80:
            return length, position + 1
        shift += 7
    if end - at >= 4:
        raise PacketError("a packet's length has more than four digits")
    return 0, 0


def packet(first: int, body: bytes) -> bytes:
    """A control packet with this first byte."""
    length, header = len(body), bytearray((first,))
    while True:
        length, digit = length >> 7, length & 0x7F
        header.append(digit | 0x80 if length else digit)
        if not length:
            return bytes(header) + body


def text(value: str | bytes) -> bytes:
    """A string with its length before it. Raises PacketError when it is longer than 65,535 bytes."""
    raw = value.encode() if isinstance(value, str) else value
    if len(raw) > 0xFFFF:
        raise PacketError(f"a text of {len(raw)} bytes, MQTT knows at most 65535")
    return len(raw).to_bytes(2, "big") + raw


def connect(client_id: str, username: str | None, password: str | None, keepalive: int) -> bytes:
    """CONNECT with a clean session; `keepalive` in seconds."""
    flags = 0x02 | (0x80 if username is not None else 0) | (0x40 if password is not None else 0)
    body = text("MQTT") + bytes((4, flags)) + keepalive.to_bytes(2, "big") + text(client_id)
    for credential in (username, password):
        if credential is not None:
            body += text(credential)
    return packet(Kind.CONNECT << 4, body)


def subscribe(identifier: int, topics: Sequence[str], qos: int) -> bytes:
    """SUBSCRIBE to topic filters."""
    filters = b"".join(text(topic) + bytes((qos,)) for topic in topics)
    return packet(Kind.SUBSCRIBE << 4 | 0x02, identifier.to_bytes(2, "big") + filters)


_PUBLISH = int(Kind.PUBLISH) << 4


def publish(topic: str, payload: bytes, identifier: int = 0, *, retain: bool = False) -> bytes:
    """PUBLISH at QoS 0, or at QoS 1 with an identifier. Raises PacketError when the topic is too long."""
    raw = topic.encode()
    size = len(raw)
    length = 2 + size + len(payload)
    if not identifier and 0x80 <= length < 0x4000:  # nearly all of them, and there are many
        head = (_PUBLISH | retain, length & 0x7F | 0x80, length >> 7, size >> 8, size & 0xFF)
        return bytes(head) + raw + payload
    if identifier:
        return packet(_PUBLISH | retain | 0x02, text(raw) + identifier.to_bytes(2, "big") + payload)
    return packet(_PUBLISH | retain, text(raw) + payload)


def puback(identifiers: list[int]) -> bytes:
    """PUBACK for each identifier."""
    return struct.pack(f">{len(identifiers)}I", *[0x40020000 | identifier for identifier in identifiers])
