"""Just enough of MQTT 3.1.1 (OASIS standard, 2014) to publish prepared packets and to hear acknowledgements."""

from collections.abc import Iterable, Iterator

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 0x20, 0x30, 0x40, 0x90, 0xD0
PINGREQ, DISCONNECT = b"\xc0\x00", b"\xe0\x00"
CONTINUED = 0x80

# Section 3.2.2.3; what a broker answers that lets nobody in.
REFUSALS = {
    1: "it does not speak MQTT 3.1.1",
    2: "it does not like the client id",
    3: "it is not available",
    4: "user name or password are wrong",
    5: "it does not let us in",
}


def length(size: int) -> bytes:
    """The remaining length of a packet, as section 2.2.3 encodes it."""
    if size < CONTINUED:
        return bytes((size,))
    if size < CONTINUED * CONTINUED:
        return bytes((size & 127 | CONTINUED, size >> 7))
    encoded = bytearray()
    while True:
        encoded.append(size & 127 | (CONTINUED if size > 127 else 0))
        size >>= 7
        if not size:
            return bytes(encoded)


def text(value: str | bytes) -> bytes:
    """A string with its length before it."""
    raw = value.encode() if isinstance(value, str) else value
    return len(raw).to_bytes(2, "big") + raw


def packet(first: int, body: bytes) -> bytes:
    """Fixed header and body."""
    return bytes((first,)) + length(len(body)) + body


def connect(
    client: str, keepalive: int, login: tuple[str, str] | None = None, will: tuple[str, bytes] | None = None
) -> bytes:
    """A CONNECT with a clean session; the last will is retained and has QoS 1."""
    flags, tail = 0x02, text(client)
    if will:
        flags |= 0x04 | 0x08 | 0x20
        tail += text(will[0]) + text(will[1])
    if login:
        flags |= 0xC0
        tail += text(login[0]) + text(login[1])
    return packet(0x10, text("MQTT") + bytes((4, flags)) + keepalive.to_bytes(2, "big") + tail)


def publish(topic: str, payload: bytes, identifier: int = 0, *, retain: bool = False) -> bytes:
    """A PUBLISH with QoS 1, or 0 without an identifier."""
    number = identifier.to_bytes(2, "big") if identifier else b""
    return packet(PUBLISH | (2 if identifier else 0) | retain, text(topic) + number + payload)


def subscribe(identifier: int, filters: Iterable[str]) -> bytes:
    """A SUBSCRIBE at QoS 0: who resends what is not acknowledged can miss an acknowledgement."""
    return packet(0x82, identifier.to_bytes(2, "big") + b"".join(text(one) + b"\x00" for one in filters))


def split(buffer: bytes | bytearray) -> tuple[list[tuple[int, bytes]], int]:
    """The whole packets in the buffer, each as its first byte and its body, and how many bytes they are.

    Raises ValueError for a length that no packet can have.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while (header := _header(buffer, at)) is not None:
        begin, size = header
        if len(buffer) < begin + size:
            break
        found.append((buffer[at], bytes(buffer[begin : begin + size])))
        at = begin + size
    return found, at


def _header(buffer: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Where the body begins and how long it is, as soon as both can be told."""
    size = 0
    for i in range(4):
        if at + 1 + i >= len(buffer):
            return None
        byte = buffer[at + 1 + i]
        size |= (byte & 127) << (7 * i)
        if byte < CONTINUED:
            return at + 2 + i, size
    raise ValueError("a packet's length has more than four bytes")


def published(first: int, body: bytes) -> tuple[bytes, bytes]:
    """Topic and payload of a PUBLISH of any QoS. Raises ValueError when it is too short."""
    end = 2 + int.from_bytes(body[:2], "big")
    start = end + (2 if first & 0x06 else 0)
    if len(body) < start or end < 3:
        raise ValueError("a PUBLISH is shorter than its topic")
    return body[2:end], body[start:]


def identifiers() -> Iterator[int]:
    """Packet identifiers, round and round."""
    while True:
        yield from range(1, 0xFFFF)
