import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.packets import (
    CONNECT,
    PUBACK,
    PacketError,
    Publish,
    Splitter,
    _length,
    acknowledged_by,
    kind_of,
    read_publish,
    version_of,
)

MESSAGES = st.builds(
    Publish,
    topic=st.text(max_size=20),
    payload=st.binary(max_size=300),
    qos=st.just(0),
    identifier=st.just(0),
    retain=st.booleans(),
    dup=st.just(False),
    properties=st.just(b""),
) | st.builds(
    Publish,
    topic=st.text(max_size=20),
    payload=st.binary(max_size=300),
    qos=st.sampled_from([1, 2]),
    identifier=st.integers(1, 0xFFFF),
    retain=st.booleans(),
    dup=st.booleans(),
    properties=st.just(b""),
)
PROPERTIES = st.binary(max_size=200).map(lambda body: _length(len(body)) + body)


@given(st.lists(MESSAGES, max_size=10), st.lists(st.integers(1, 50), max_size=200))
def test_splitter_stream_in_any_pieces_gives_the_packets_that_were_sent(
    messages: list[Publish], sizes: list[int]
) -> None:
    stream = b"".join(message.encode() for message in messages)
    splitter = Splitter()
    packets: list[bytes] = []
    for size in [*sizes, len(stream) or 1]:
        packets += splitter.feed(stream[:size])
        stream = stream[size:]
    assert [read_publish(packet) for packet in packets] == messages
    assert not stream


@given(MESSAGES)
def test_publish_encoded_has_the_length_that_it_says(message: Publish) -> None:
    # the length as the standard's own algorithm says
    packet = message.encode()
    length, factor, at = 0, 1, 1
    while True:
        length += (packet[at] & 127) * factor
        factor *= 128
        at += 1
        if not packet[at - 1] & 128:
            break
    assert len(packet) == at + length
    assert read_publish(packet) == message


@given(MESSAGES, PROPERTIES)
def test_publish_of_mqtt_5_its_properties_are_told_from_its_payload(message: Publish, properties: bytes) -> None:
    message = message._replace(properties=properties)
    assert read_publish(message.encode(), version=5) == message


@pytest.mark.parametrize("version", [4, 5])
def test_connect_its_version_is_read(version: int) -> None:
    packet = bytes([CONNECT << 4, 10, 0, 4, *b"MQTT", version, 2, 0, 60])
    assert version_of(packet) == version


def test_puback_its_identifier_is_read() -> None:
    packet = bytes([0x40, 2, 0x12, 0x34])
    assert kind_of(packet) == PUBACK
    assert acknowledged_by(packet) == 0x1234


def test_splitter_length_without_end_is_told() -> None:
    with pytest.raises(PacketError, match="length"):
        Splitter().feed(b"\x30\xff\xff\xff\xff\xff")


@pytest.mark.parametrize("packet", [b"\x36\x02\x00\x00", b"\x32\x03\x00\x01a", b"\x30\x03\x00\x01\xff"])
def test_publish_that_breaks_the_standard_is_told(packet: bytes) -> None:
    with pytest.raises(PacketError):
        read_publish(packet)
