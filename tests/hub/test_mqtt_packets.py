"""MQTT packets as bytes, whatever pieces they come in."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard.transport import packets
from botyard.transport.packets import Kind, PacketError, Parser, Publish

topics = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
messages = st.builds(Publish, topics, st.binary(max_size=400), st.integers(0, 0xFFFF), st.booleans())


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(stream) + 1) for place in at})
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


@given(st.lists(messages, max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_parser_stream_cut_anywhere_gives_every_message_once_in_order(sent: list[Publish], at: list[int]) -> None:
    stream = b"".join(packets.publish(*message[:3], retain=message.retained) for message in sent)
    parser = Parser()
    received = [message for piece in cut(stream, at) for message in parser.feed(piece)[0]]
    assert received == sent


def test_parser_between_messages_gives_other_packets() -> None:
    stream = packets.publish("a", b"1") + b"\x20\x02\x00\x00" + packets.publish("b", b"2", 7) + b"\xd0\x00"
    publishes, others = Parser().feed(stream)
    assert publishes == [Publish("a", b"1", 0), Publish("b", b"2", 7)]
    assert [(other.kind, other.body) for other in others] == [(Kind.CONNACK, b"\x00\x00"), (Kind.PINGRESP, b"")]


def test_parser_large_message_arrives_whole() -> None:
    payload = bytes(range(256)) * 4000
    parser = Parser()
    stream = packets.publish("topic", payload, 1)
    received = [
        message for piece in cut(stream, list(range(0, len(stream), 65536))) for message in parser.feed(piece)[0]
    ]
    assert received == [Publish("topic", payload, 1)]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length of five digits
        b"\x30\xff\xff\xff\x7f",  # 256 MiB
        b"\x30\x01a",  # no room for the topic's length
        b"\x30\x03\x00\x09a",  # a topic longer than its packet
        b"\x32\x04\x00\x01ab",  # no room for the identifier
        b"\x30\x03\x00\x01\xff",  # a topic that is not UTF-8
    ],
)
def test_parser_stream_out_of_step_raises_one_sentence(stream: bytes) -> None:
    with pytest.raises(PacketError):
        Parser().feed(stream)


@given(st.binary(max_size=200))
def test_parser_arbitrary_bytes_raise_nothing_else(stream: bytes) -> None:
    with contextlib.suppress(PacketError):
        Parser().feed(stream)
