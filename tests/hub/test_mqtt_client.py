"""The connection to a broker, with brokers that do not behave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest

from botyard.core.bus import Bus
from botyard.plugin import Inbound, Inbox, PluginContext
from botyard.testing import hub_config, wait_until
from botyard.transport import packets
from botyard.transport.client import Login, MqttError, connected
from botyard.transport.mqtt import Address, MqttTransport
from botyard_schemas.clock import SystemClock

WELCOME = b"\x20\x02\x00\x00"
GRANTED = b"\x90\x04\x00\x01\x01\x01"
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let the hub in and grant what it subscribes to."""
    writer.write(WELCOME)
    await reader.readuntil(b"/presence\x01")
    writer.write(GRANTED)


@asynccontextmanager
async def broker(talk: Talk) -> AsyncIterator[int]:
    """A server that says what `talk` does; gives its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
            await reader.read()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


async def test_connection_whose_subscription_is_never_answered_fails_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("botyard.transport.client.ANSWER_WITHIN", 0.05)

    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WELCOME)

    async with broker(talk) as port, connected("127.0.0.1", port, Login("a")) as connection:
        with pytest.raises(MqttError, match=r"the broker has not answered within 0\.05 s"):
            await connection.subscribe(("a", "b"), 1)


@pytest.mark.parametrize("answer", [b"\x90\x04\x00\x01\x01\x80", b"\x90\x03\x00\x01\x01", b"\x90\x02\x00\x01"])
async def test_connection_whose_second_subscription_is_refused_names_it(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WELCOME)
        await reader.readuntil(b"b\x01")
        writer.write(answer)

    async with broker(talk) as port, connected("127.0.0.1", port, Login("a")) as connection:
        with pytest.raises(MqttError, match=r"the broker refuses the subscription to (b|a)$"):
            await connection.subscribe(("a", "b"), 1)


async def test_connection_with_much_to_read_before_the_subscription_is_answered_gets_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("botyard.transport.client.PAUSE_ABOVE", 1000)
    monkeypatch.setattr("botyard.transport.client.ANSWER_WITHIN", 5)
    message = packets.publish("a", bytes(900))

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(WELCOME)
        await reader.readuntil(b"b\x01")
        for _ in range(2000):
            writer.write(message)
            await writer.drain()
        writer.write(GRANTED)

    async with broker(talk) as port, connected("127.0.0.1", port, Login("a")) as connection:
        await connection.subscribe(("a", "b"), 1)
        assert connection._paused
        received = 0
        while received < 2000:
            received += len(await connection.received())


@pytest.mark.parametrize(
    ("host", "port", "sentence"),
    [
        ("a..b", 1, "'a..b' is no name that a host can have"),
        ("a\0b", 1, "no connection to 'a\\x00b', port 1, can be made: embedded null character"),
        ("127.0.0.1", 70_000, "no connection to '127.0.0.1', port 70000, can be made: "),
    ],
)
async def test_connection_that_is_impossible_fails_in_one_sentence(host: str, port: int, sentence: str) -> None:
    with pytest.raises(MqttError) as refused:
        async with connected(host, port, Login("a")):
            pass
    assert str(refused.value).startswith(sentence)


async def test_connection_with_a_name_that_mqtt_cannot_carry_fails_in_one_sentence() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with broker(talk) as port:
        with pytest.raises(MqttError, match="a text of 70000 bytes"):
            async with connected("127.0.0.1", port, Login("a", "u" * 70_000)):
                pass


class StuckInbox(Inbox):
    """Takes messages in while it is `open`; notes how many at a time."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.sizes: list[int] = []
        self.messages: list[Inbound] = []

    async def receive(self, message: Inbound, token: str | None = None) -> object:
        raise NotImplementedError

    async def receive_all(self, messages: Sequence[Inbound]) -> None:
        await self.open.wait()
        self.sizes.append(len(messages))
        self.messages += messages


@asynccontextmanager
async def transport(folder: Any, inbox: StuckInbox, port: int) -> AsyncIterator[MqttTransport]:
    context = PluginContext(config=hub_config(folder), bus=Bus(), clock=SystemClock())
    async with MqttTransport(context, inbox, Address("127.0.0.1", port), None) as running:
        yield running


async def test_transport_says_at_once_that_it_is_not_connected_while_the_hub_is_behind(tmp_path: Any) -> None:
    cut = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await welcome(reader, writer)
        writer.write(packets.publish("a", b"1"))
        await cut.wait()
        writer.transport.abort()

    inbox = StuckInbox()
    async with broker(talk) as port, transport(tmp_path, inbox, port) as running:
        await wait_until(lambda: running.connected)
        cut.set()
        await wait_until(lambda: not running.connected)
        assert inbox.messages == []


async def test_transport_hands_messages_over_in_slices_and_lets_others_have_their_turn_between(tmp_path: Any) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await welcome(reader, writer)
        writer.write(b"".join(packets.publish("a", str(n).encode(), retain=n == 1) for n in range(5000)))

    class Counter:
        turns = 0

        async def run(self) -> Self:
            while True:
                self.turns += 1
                await asyncio.sleep(0)

    inbox, counter = StuckInbox(), Counter()
    async with broker(talk) as port, transport(tmp_path, inbox, port) as running:
        await wait_until(lambda: running.connected)
        counting = asyncio.create_task(counter.run())
        inbox.open.set()
        await wait_until(lambda: len(inbox.messages) == 5000)
        counting.cancel()
    assert [message.payload for message in inbox.messages] == [str(n).encode() for n in range(5000)]
    assert [message.retained for message in inbox.messages[:3]] == [False, True, False]
    assert max(inbox.sizes) <= 200
    assert counter.turns >= len(inbox.sizes) // 2
