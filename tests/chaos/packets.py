"""MQTT packets on a stream, of 3.1.1 and 5 (OASIS standards, sections 2 and 3.3), as far as a proxy has to know them.

It shares nothing with the hub's own reader, so that no mistake is made twice.
"""

from typing import NamedTuple

CONNECT, PUBLISH, PUBACK, DISCONNECT = 1, 3, 4, 14
MAX_LENGTH_BYTES = 4


class PacketError(ValueError):
    """What came is no MQTT; the sentence says why."""


class Splitter:
    """Cuts a stream into whole packets."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The packets that are complete now. Raises PacketError."""
        self._rest += data
        packets = []
        while (size := _size(self._rest)) is not None and len(self._rest) >= size:
            packets.append(self._rest[:size])
            self._rest = self._rest[size:]
        return packets


class Publish(NamedTuple):
    """A message; `identifier` is 0 at QoS 0. `properties` are those of MQTT 5 as they stand, with their length."""

    topic: str
    payload: bytes
    qos: int = 0
    identifier: int = 0
    retain: bool = False
    dup: bool = False
    properties: bytes = b""

    def encode(self) -> bytes:
        """The packet."""
        topic = self.topic.encode()
        identifier = self.identifier.to_bytes(2, "big") if self.qos else b""
        body = len(topic).to_bytes(2, "big") + topic + identifier + self.properties + self.payload
        return bytes([PUBLISH << 4 | self.dup << 3 | self.qos << 1 | self.retain]) + _length(len(body)) + body


def kind_of(packet: bytes) -> int:
    """Which kind of packet it is, as a number of the standard."""
    return packet[0] >> 4


def version_of(packet: bytes) -> int:
    """The version in a packet of the kind CONNECT: 4 for MQTT 3.1.1, 5 for MQTT 5. Raises PacketError."""
    body = _body(packet)
    at = 2 + int.from_bytes(body[:2], "big")
    if at >= len(body):
        raise PacketError("a CONNECT is not as the standard says")
    return body[at]


def read_publish(packet: bytes, version: int = 4) -> Publish:
    """The message in a packet of the kind PUBLISH. Raises PacketError."""
    flags, body = packet[0] & 0x0F, _body(packet)
    qos = flags >> 1 & 3
    end = 2 + int.from_bytes(body[:2], "big")
    start = payload = end + (2 if qos else 0)
    if version >= 5 and start < len(body):
        payload = start + (_size(b"\0" + body[start:]) or len(body)) - 1
    if qos == 3 or payload > len(body) or (version >= 5 and payload == start):
        raise PacketError("a PUBLISH is not as the standard says")
    try:
        topic = body[2:end].decode()
    except UnicodeDecodeError as error:
        raise PacketError("a topic is not UTF-8") from error
    identifier = int.from_bytes(body[end:start], "big")
    return Publish(topic, body[payload:], qos, identifier, bool(flags & 1), bool(flags & 8), body[start:payload])


def acknowledged_by(packet: bytes) -> int:
    """The identifier in a packet of the kind PUBACK."""
    return int.from_bytes(_body(packet)[:2], "big")


def _body(packet: bytes) -> bytes:
    start = 1
    while packet[start] & 0x80:
        start += 1
    return packet[start + 1 :]


def _size(data: bytes) -> int | None:
    """Bytes of the packet that begins here, None when too little of it is there to tell."""
    length = 0
    for index in range(MAX_LENGTH_BYTES):
        if len(data) < index + 2:
            return None
        byte = data[index + 1]
        length |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            return index + 2 + length
    raise PacketError("the length of a packet is no number")


def _length(size: int) -> bytes:
    encoded = bytearray()
    while True:
        size, byte = divmod(size, 128)
        encoded.append(byte | 0x80 if size else byte)
        if not size:
            return bytes(encoded)
