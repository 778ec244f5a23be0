"""A small HTTP/1.1 server: h11 for the protocol, asyncio for the sockets, and bounds on everything.

It is for one robot's page on one machine: few connections, small requests, nothing streamed.
"""

import asyncio
import contextlib
import errno
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

log = logging.getLogger(__name__)

# Connections at a time, and bytes of a request's head and of its body.
CONNECTIONS, HEAD, BODY = 16, 16_384, 16_384
# Seconds for a request once it has begun, and as many for its answer; and for it to begin, which is longer than the 5 s
# after which a page that nobody looks at asks again.
WITHIN, BETWEEN = 3.0, 6.0
# Ports that are tried when the wanted one is taken.
PORTS = 32


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request: `target` with its query, names of headers in lower case, the whole body."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What is answered."""

    status: int
    body: bytes
    kind: str
    headers: tuple[tuple[str, str], ...] = field(default=())


Answer = Callable[[HttpRequest], HttpReply]


class _TooLargeError(Exception):
    """The request is larger than anything that is meant for us."""


class HttpServer:
    """Listens while its `async with` lasts, on the first free port from `port` on. `port` is None when none was free,
    which is told in the log: the robot works without.

    When all connections are taken, the one whose latest request is the longest ago is closed for the new one: visitors
    who say nothing must not keep the emergency stop from anybody."""

    def __init__(self, host: str, port: int, answer: Answer) -> None:
        self.host = host
        self.port: int | None = None
        self._wanted = port
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # Those whose latest request is the longest ago come first.
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def __aenter__(self) -> Self:
        for port in range(self._wanted, min(self._wanted + PORTS, 65_536)):
            try:
                self._server = await asyncio.start_server(self._serve, self.host, port, limit=HEAD, backlog=CONNECTIONS)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                log.warning("there is no local page, since %s port %d cannot be used: %s", self.host, port, error)
                return self
            self.port = port
            return self
        log.warning("there is no local page, since ports %d and following are all in use", self._wanted)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is None:
            return
        self._server.close()
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is None:  # a task of the server's own is what it is called in
            raise RuntimeError("a conversation needs a task")
        task.set_name("edge.local.page")
        self._tasks.add(task)
        while len(self._open) >= CONNECTIONS:
            self._turn_away(next(iter(self._open)))
        self._open[writer] = None
        try:
            with contextlib.suppress(OSError, TimeoutError):
                await self._converse(reader, writer)
        finally:
            self._open.pop(writer, None)
            self._tasks.discard(task)
            writer.close()

    def _turn_away(self, writer: asyncio.StreamWriter) -> None:
        del self._open[writer]
        writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import h11  # when the first visitor comes: most robots never have one

        connection: Any = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD)
        while True:
            request: HttpRequest | None = None
            try:
                async with asyncio.timeout(BETWEEN) as limit:
                    request = await _read(connection, reader, limit)
                if request is None or writer not in self._open:
                    return
                self._open[writer] = self._open.pop(writer)
                reply = self._answer(request)
            except h11.RemoteProtocolError as error:
                reply = HttpReply(error.error_status_hint, b"not a request\n", "text/plain")
            except _TooLargeError:
                reply = HttpReply(413, b"too large\n", "text/plain")
            if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                return
            head = h11.Response(status_code=reply.status, headers=_headers(reply))
            empty = request is not None and request.method == "HEAD"
            writer.write(
                connection.send(head)
                + (b"" if empty else connection.send(h11.Data(data=reply.body)))
                + connection.send(h11.EndOfMessage())
            )
            async with asyncio.timeout(WITHIN):
                await writer.drain()
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def _read(connection: Any, reader: asyncio.StreamReader, limit: asyncio.Timeout) -> HttpRequest | None:
    """The next request; None when the visitor has gone. With its first bytes the limit is set anew. Raises what h11
    raises, and _TooLargeError."""
    import h11

    begun = False
    head: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(HEAD))
            if not begun:
                begun = True
                limit.reschedule(asyncio.get_running_loop().time() + WITHIN)
        elif isinstance(event, h11.Request):
            head = event
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > BODY:
                raise _TooLargeError
        elif isinstance(event, h11.EndOfMessage) and head is not None:
            headers = {name.decode("ascii"): value.decode("latin-1") for name, value in head.headers}
            return HttpRequest(head.method.decode("ascii"), head.target.decode("ascii"), headers, bytes(body))
        else:
            return None


def _headers(reply: HttpReply) -> list[tuple[str, str]]:
    return [
        ("Content-Type", reply.kind),
        ("Content-Length", str(len(reply.body))),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        *reply.headers,
    ]
