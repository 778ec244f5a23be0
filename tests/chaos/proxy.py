"""A proxy that can be told to cut, to hold back and to delay, and to double, reorder and repeat messages of MQTT.

It runs in a thread of its own, so that whoever tells it may block.
"""

import asyncio
import contextlib
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from tests.chaos.mangler import NONE, Mangler, Mangling, as_qos0
from tests.chaos.packets import CONNECT, PUBLISH, Publish, Splitter, kind_of, read_publish, version_of

CHUNK = 65536

# Pieces that wait to be passed on in one direction; then reading pauses, as it would on a real wire.
WAITING = 1000

# How often it is looked for messages that were held back for long enough, in seconds.
TICK = 0.02

# Messages of each topic that can be brought again.
REMEMBERED = 1000


# How MQTT 5 says that there are none.
NO_PROPERTIES = b"\0"


class Proxy:
    """Forwards a free port to `target` on this machine while its `with` lasts.

    With `mqtt` it knows the messages that pass: `on_publish` hears those of the side that connects, in the proxy's
    thread and before anything is done to them.
    """

    def __init__(
        self,
        target: int,
        *,
        mqtt: bool = False,
        seed: int = 0,
        on_publish: Callable[[Publish], None] = lambda _: None,
    ) -> None:
        self.port = 0
        self.counts: Counter[str] = Counter()
        self.mangling = NONE
        self.mqtt = mqtt
        self.rng = random.Random(f"proxy {seed}")
        self.on_publish = on_publish
        self.delayed = 0.0
        self.flowing: asyncio.Event
        self.remembered: dict[str, deque[Publish]] = {}
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._connections: dict[asyncio.Task[None], _Line] = {}
        self._open = True

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start()).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stop()).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self, *, cut: bool = True) -> None:
        """End all connections, and refuse new ones until `cut=False`."""
        self._call(self._cut(cut)).result(10)

    def hold(self, *, hold: bool = True) -> None:
        """Keep the connections and let nothing pass until `hold=False`: what a dead network looks like."""
        self._loop.call_soon_threadsafe(self.flowing.clear if hold else self.flowing.set)

    def delay(self, seconds: float) -> None:
        """Let everything that comes from now on arrive this much later."""
        self.delayed = seconds

    def mangle(self, mangling: Mangling) -> None:
        """Double and reorder messages from now on."""
        self.mangling = mangling

    def echo(self, count: int) -> None:
        """Bring up to so many old messages again, on each connection that sent messages of that topic."""
        self._loop.call_soon_threadsafe(self._echo, count)

    def heal(self) -> None:
        """Be a good network again."""
        self.cut(cut=False)
        self.hold(hold=False)
        self.delay(0.0)
        self.mangle(NONE)

    # --- in the thread

    def _call(self, work: Any) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _start(self) -> None:
        self.flowing = asyncio.Event()
        self.flowing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._cut(True)

    async def _cut(self, cut: bool) -> None:
        self._open = not cut
        if cut:
            tasks = list(self._connections)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _echo(self, count: int) -> None:
        for line in self._connections.values():
            self.counts["echoed"] += line.echo(count)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        line = self._connections[task] = _Line(self)
        try:
            if self._open:
                await line.forward(reader, writer, self._target)
        except (OSError, asyncio.CancelledError):
            pass  # the network is like that
        finally:
            del self._connections[task]
            self.counts += line.counts
            writer.transport.abort()


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._topics: set[str] = set()
        there: Counter[int] = Counter()
        back: Counter[int] = Counter()
        self._up = _Way(proxy, Mangler(proxy.rng, there, back), self._see)
        self._down = _Way(proxy, Mangler(proxy.rng, back, there), lambda _: None)

    @property
    def counts(self) -> Counter[str]:
        """What was done to messages."""
        return self._up.mangler.counts + self._down.mangler.counts

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> None:
        """Pass everything on, until one side is gone."""
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._up.start(tasks, reader, far_writer)
                self._down.start(tasks, far_reader, writer)
        except* (OSError, ValueError):
            # What was written on the last moment may still arrive, a goodbye above all.
            for end in (writer, far_writer):
                end.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await asyncio.gather(writer.wait_closed(), far_writer.wait_closed(), return_exceptions=True)
        finally:
            far_writer.transport.abort()

    def echo(self, count: int) -> int:
        """Send old messages of this connection's topics again; gives how many there were."""
        known = [message for topic in sorted(self._topics) for message in self._proxy.remembered[topic]]
        chosen = self._proxy.rng.sample(known, min(count, len(known)))
        # Without what belonged to another connection, and maybe to another version of MQTT.
        properties = NO_PROPERTIES if self._up.mangler.version >= 5 else b""
        return sum(self._up.insert(as_qos0(message._replace(properties=properties))) for message in chosen)

    def _see(self, packet: bytes) -> None:
        """Look at what the side that connects sends."""
        kind = kind_of(packet)
        if kind == CONNECT:
            self._up.mangler.version = self._down.mangler.version = version_of(packet)
        if kind != PUBLISH:
            return
        message = read_publish(packet, self._up.mangler.version)
        if "/up/" in message.topic:
            self._topics.add(message.topic)
            memory = self._proxy.remembered.setdefault(message.topic, deque(maxlen=REMEMBERED))
            memory.append(message)
        self._proxy.on_publish(message)


class _Way:
    """One direction of a connection: a task reads, another writes when it is time."""

    def __init__(self, proxy: Proxy, mangler: Mangler, see: Callable[[bytes], None]) -> None:
        self.mangler = mangler
        self._proxy = proxy
        self._see = see
        self._splitter = Splitter()
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING)

    def start(self, tasks: asyncio.TaskGroup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Begin to pass on; one of the tasks fails when a side is gone."""
        tasks.create_task(self._read(reader), name="proxy.read")
        tasks.create_task(self._write(writer), name="proxy.write")
        if self._proxy.mqtt:
            tasks.create_task(self._tick(), name="proxy.tick")

    def insert(self, packet: bytes) -> bool:
        """Put a packet between the others; False when there is no room."""
        with contextlib.suppress(asyncio.QueueFull):
            self._waiting.put_nowait((self._now(), packet))
            return True
        return False

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            for piece in self._pieces(data) if self._proxy.mqtt else [data]:
                await self._waiting.put((self._now() + self._proxy.delayed, piece))
        await self._waiting.put((self._now(), b""))

    def _pieces(self, data: bytes) -> list[bytes]:
        pieces = []
        for packet in self._splitter.feed(data):
            self._see(packet)
            pieces += self.mangler.feed(packet, self._proxy.mangling, self._now())
        return pieces

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            for packet in self.mangler.tick(self._now()):
                await self._waiting.put((self._now(), packet))

    async def _write(self, writer: asyncio.StreamWriter) -> None:
        while True:
            due, piece = await self._waiting.get()
            await asyncio.sleep(max(0.0, due - self._now()))
            await self._proxy.flowing.wait()
            if not piece:
                raise ConnectionResetError  # one side is gone, so the other has to go
            writer.write(piece)
            await writer.drain()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
