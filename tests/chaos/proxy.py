"""A TCP proxy that can be told to cut, to hold back and to delay. It runs in a thread of its own."""

import asyncio
import contextlib
import threading
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

CHUNK = 65536


class Proxy:
    """Forwards a free port to `target` on this machine while its `with` lasts."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._connections: set[asyncio.Task[None]] = set()
        self._open = True
        self._delay = 0.0
        self._flowing: asyncio.Event

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

    def cut(self) -> None:
        """End all connections, and refuse new ones until `heal`."""
        self._call(self._cut()).result(10)

    def hold(self) -> None:
        """Keep the connections and let nothing pass until `heal`: what a dead network looks like."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def delay(self, seconds: float) -> None:
        """Let everything arrive this much later until `heal`."""
        self._delay = seconds

    def heal(self) -> None:
        """Be a good network again."""
        self._open, self._delay = True, 0.0
        self._loop.call_soon_threadsafe(self._flowing.set)

    def _call(self, work: Any) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _start(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        self._open = False
        tasks = list(self._connections)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            if self._open:
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the network is like that
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        try:
            with contextlib.suppress(ExceptionGroup):
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, far_writer))
                    tasks.create_task(self._pump(far_reader, writer))
        finally:
            far_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self._flowing.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # one side is gone, so the other has to go
