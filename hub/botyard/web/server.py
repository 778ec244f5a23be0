"""Serves the web application, as one of the hub's parts."""

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any, Self

from hypercorn.asyncio import serve
from hypercorn.config import Config as HypercornConfig

from botyard.core.tasks import Tasks
from botyard.web.app import build_app
from botyard.web.feed import Feed

if TYPE_CHECKING:
    from botyard.core.hub import Hub

STOP_WITHIN = 1.0
BACKLOG = 256


class WebServer:
    """Listens while its `async with` lasts. Entering raises OSError when the address is taken."""

    def __init__(self, hub: "Hub") -> None:
        self._hub = hub
        self._stop = asyncio.Event()
        self._tasks = Tasks()
        self._stack = contextlib.AsyncExitStack()
        self._feed: Feed | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            feed = self._feed = await stack.enter_async_context(Feed(self._hub))
            app = build_app(self._hub, feed)
            listener = self._listen()
            await self._tasks.__aenter__()
            stack.push_async_exit(self._end)
            # from here on the socket belongs to Hypercorn, which closes it
            config = _hypercorn_config(listener.detach())
            self._tasks.start(serve(app, config, shutdown_trigger=self._stop.wait), "hub.web")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._stack.__aexit__(*exc)

    async def _end(self, *exc: Any) -> None:
        if self._feed:
            self._feed.closing.set()
        self._stop.set()
        await self._tasks.__aexit__(*exc)

    def _listen(self) -> socket.socket:
        host, port = self._hub.config.web.host, self._hub.config.web.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


def _hypercorn_config(descriptor: int) -> HypercornConfig:
    config = HypercornConfig()
    config.bind = [f"fd://{descriptor}"]
    config.graceful_timeout = STOP_WITHIN
    config.shutdown_timeout = STOP_WITHIN
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    # no websocket_ping_interval: Hypercorn 0.18 leaves a task behind for each connection then; see web/socket.py
    config.wsgi_max_body_size = 0
    config.h11_max_incomplete_size = 64 * 1024
    return config
