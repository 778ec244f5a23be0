"""Serves the web application, as one of the hub's parts."""

import asyncio
import contextlib
import socket
import weakref
from typing import TYPE_CHECKING, Any, Self

from hypercorn.asyncio.run import worker_serve
from hypercorn.config import Config as HypercornConfig
from hypercorn.config import Sockets
from hypercorn.utils import wrap_app

from botyard.core.tasks import Tasks
from botyard.plugin.api import SocketTransport
from botyard.web.app import build_app
from botyard.web.edge import EdgeSockets
from botyard.web.feed import Feed

if TYPE_CHECKING:
    from botyard.core.hub import Hub

STOP_WITHIN = 1.0
BACKLOG = 256
MAX_FRAME = 8 * 1024 * 1024
# The kernel finds out about visitors and robots that went without a goodbye: seconds of silence, and between probes.
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class WebServer:
    """Listens while its `async with` lasts. Entering raises OSError when the address is taken."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._stop = asyncio.Event()
        self._tasks = Tasks()
        self._stack = contextlib.AsyncExitStack()
        self._feed: Feed | None = None
        self._listener: Listener | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            feed = self._feed = await stack.enter_async_context(Feed(self._hub))
            app = build_app(self._hub, feed)
            app.asgi_app = EdgeSockets(app, app.asgi_app, self._hub, feed.closing)  # type: ignore[assignment, method-assign]
            listener = self._listen()
            await self._tasks.__aenter__()
            stack.push_async_exit(self._end)
            config = _hypercorn_config(self._hub.config.ingest.max_message_bytes)
            # from here on the socket belongs to Hypercorn, which closes it
            serving = worker_serve(
                wrap_app(app, config.wsgi_max_body_size, "asgi"),
                config,
                sockets=Sockets([], [listener], []),
                shutdown_trigger=self._stop.wait,
            )
            self._tasks.start(serving, "hub.web")
            for transport in self._hub.transports:
                if isinstance(transport, SocketTransport):
                    transport.listening(self.url)
                    stack.callback(transport.listening, None)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._stack.__aexit__(*exc)

    async def _end(self, *exc: Any) -> None:
        if self._feed:
            self._feed.closing.set()
        self._stop.set()
        cut = asyncio.get_running_loop().call_later(STOP_WITHIN, self._cut)
        try:
            await self._tasks.__aexit__(*exc)
        finally:
            cut.cancel()

    def _cut(self) -> None:
        """Hypercorn waits until a client has read everything; one that does not read would keep the hub from ending."""
        for connection in list(self._listener.connections) if self._listener else ():
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _listen(self) -> "Listener":
        host, port = self._hub.config.web.host, self._hub.config.web.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = self._listener = Listener(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # inherited by connections; without it each answer waits 40 ms for the visitor's delayed acknowledgement
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in KEEPALIVE.items():
                if hasattr(socket, name):
                    listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            listener.bind((host, port))
            listener.listen(BACKLOG)
            listener.setblocking(False)
        except OSError as error:
            listener.close()
            detail = f"the dashboard cannot listen on {host}:{port} (web.host, web.port): {error.strerror}"
            raise OSError(error.errno, detail) from error
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
        self.url = f"http://{shown}:{listener.getsockname()[1]}"
        return listener


class Listener(socket.socket):
    """A listening socket that knows its open connections."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        self.connections.add(connection)
        return connection, address


def _hypercorn_config(message_bytes: int) -> HypercornConfig:
    config = HypercornConfig()
    # well above ingest's own limit, so that a message that is too large reaches the quarantine and cuts nobody off
    config.websocket_max_message_size = max(MAX_FRAME, 8 * message_bytes)
    config.graceful_timeout = 2 * STOP_WITHIN
    config.shutdown_timeout = STOP_WITHIN
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    # no websocket_ping_interval: Hypercorn 0.18 leaves a task behind for each connection then; see web/socket.py
    config.wsgi_max_body_size = 0
    config.h11_max_incomplete_size = 64 * 1024
    return config
