"""MQTT packets as bytes, whatever pieces they come in."""

import contextlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard.transport import packets
from botyard.transport.packets import Kind, PacketError, Parser, Publish

topics = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)


def message(topic: str, payload: bytes, identifier: int = 0, *, retained: bool = False) -> Publish:
    return Publish(topic, payload, 0, "mqtt", None, retained, identifier)


messages = st.builds(message, topics, st.binary(max_size=400), st.integers(0, 0xFFFF), retained=st.booleans())


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(stream) + 1) for place in at})
    return [stream[a:b] for a, b in zip([0, *places], [*places, len(stream)], strict=True)]


def encoded(one: Publish) -> bytes:
    return packets.publish(one.topic, one.payload, one.identifier, retain=one.retained)


@given(st.lists(messages, max_size=8), st.lists(st.integers(0, 10_000), max_size=12))
def test_parser_stream_cut_anywhere_gives_every_message_once_in_order(sent: list[Publish], at: list[int]) -> None:
    stream = b"".join(encoded(one) for one in sent)
    parser = Parser()
    received = [one for piece in cut(stream, at) for one in parser.feed(piece)[0]]
    assert received == sent


def test_parser_messages_say_where_and_when_they_came() -> None:
    parser = Parser(transport="radio", peer="10.0.0.7")
    stream = packets.publish("a", b"1") + packets.publish("b", b"2")
    received = [*parser.feed(stream[:8], 1000)[0], *parser.feed(stream[8:], 2000)[0]]
    assert [(one.transport, one.peer, one.received) for one in received] == [
        ("radio", "10.0.0.7", 1000),
        ("radio", "10.0.0.7", 2000),
    ]


def test_parser_between_messages_gives_other_packets() -> None:
    stream = packets.publish("a", b"1") + b"\x20\x02\x00\x00" + packets.publish("b", b"2", 7) + b"\xd0\x00"
    publishes, others = Parser().feed(stream)
    assert publishes == [message("a", b"1"), message("b", b"2", 7)]
    assert [(other.kind, other.body) for other in others] == [(Kind.CONNACK, b"\x00\x00"), (Kind.PINGRESP, b"")]


def test_parser_large_message_arrives_whole() -> None:
    payload = bytes(range(256)) * 4000
    parser = Parser()
    stream = packets.publish("topic", payload, 1)
    received = [one for piece in cut(stream, list(range(0, len(stream), 65536))) for one in parser.feed(piece)[0]]
    assert received == [message("topic", payload, 1)]


def test_parser_large_message_in_many_pieces_takes_linear_time() -> None:
    payload = bytes(16_000_000)
    stream = packets.publish("topic", payload)
    parser = Parser()
    started = time.perf_counter()
    received = [one for at in range(0, len(stream), 1460) for one in parser.feed(stream[at : at + 1460])[0]]
    assert received == [message("topic", payload)]
    assert time.perf_counter() - started < 5  # a second or less; it took a minute when each piece was joined


@given(st.integers(1, 5000), st.integers(0, 3000), st.integers(1, 700))
def test_parser_message_beyond_the_limit_is_cut_and_its_neighbours_are_unharmed(
    size: int, beyond: int, step: int
) -> None:
    long = message("topic", bytes(100_000 + beyond), 7, retained=True)
    stream = packets.publish("a", b"1" * size) + encoded(long) + packets.publish("b", b"2")
    parser = Parser(max_packet=6000)
    cuts = list(range(0, len(stream), step * 10))
    first, middle, last = [one for piece in cut(stream, cuts) for one in parser.feed(piece)[0]]
    assert (first, last) == (message("a", b"1" * size), message("b", b"2"))
    assert middle == message("topic", middle.payload, 7, retained=True)
    assert 5900 < len(middle.payload) < 6000
    assert parser.feed(packets.publish("c", b"3"))[0] == [message("c", b"3")]


def test_parser_remembers_no_long_topics() -> None:
    parser = Parser()
    for n in range(3):
        (one,), _ = parser.feed(packets.publish(str(n) * 60_000, b""))
        assert one.topic == str(n) * 60_000
    parser.feed(packets.publish("short", b""))
    assert list(parser._topics.values()) == ["short"]


@pytest.mark.parametrize(
    "stream",
    [
        b"\x30\xff\xff\xff\xff\x01",  # a length of five digits
        b"\x90\xff\xff\xff\x7f",  # 256 MiB, and no message
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
