"""A TCP relay in a thread: it can cut, fall silent, and cut what is idle, as proxies on the way to a hub do."""

import asyncio
import ssl
import threading
from typing import Any, Self


class Relay:
    """Forwards a free port to `target` on this machine while its `with` lasts. With `idle` it cuts connections on which
    nothing has moved for so many seconds; with `tls` it is what a proxy with TLS is."""

    def __init__(self, target: int, *, idle: float | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.cuts = 0
        self._target = target
        self._idle = idle
        self._tls = tls
        self._open = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relay", daemon=True)
        self._lines: set[asyncio.Task[Any]] = set()
        self._flowing: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *exc: object) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """End all connections, and refuse new ones until `heal`."""
        self._do(self._cut())

    def hold(self) -> None:
        """Keep the connections and let nothing pass until `heal`."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def heal(self) -> None:
        """Be a good network again."""
        self._open = True
        self._loop.call_soon_threadsafe(self._flowing.set)

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        await self._cut()

    async def _cut(self) -> None:
        self._open = False
        lines = list(self._lines)
        for line in lines:
            line.cancel()
        await asyncio.gather(*lines, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line
        self._lines.add(line)
        far: asyncio.StreamWriter | None = None
        try:
            if self._open:
                far_reader, far = await asyncio.open_connection("127.0.0.1", self._target)
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._pump(reader, far))
                    tasks.create_task(self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError, ExceptionGroup):
            pass  # the network is like that
        finally:
            self._lines.discard(line)
            for end in filter(None, (writer, far)):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(self._idle):
                    data = await reader.read(65536)
            except TimeoutError:
                self.cuts += 1
                raise ConnectionResetError from None
            if not data:
                raise ConnectionResetError
            await self._flowing.wait()
            writer.write(data)
            await writer.drain()
