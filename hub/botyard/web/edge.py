"""WebSockets of robots: from ASGI to the transports that have a path here.

They bypass Quart, which reads ahead without a limit and drops what is unread when a socket closes. Here nothing is read
before it is asked for, so that a hub that is behind is felt by the robot instead of by the memory.
"""

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from quart import Quart, Response
from quart.wrappers import Websocket
from werkzeug.datastructures import Headers

from botyard.fleet.admission import authenticate
from botyard.plugin.api import Connection, Deny, SocketTransport
from botyard.web import security
from botyard.web.problems import problem
from botyard_schemas import topics

if TYPE_CHECKING:
    from botyard.core.hub import Hub

log = logging.getLogger(__name__)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

# Browsers cannot set headers; they offer these, of which the first is agreed to.
SUBPROTOCOL = "botyard.v1"
TOKEN_SUBPROTOCOL = "botyard.token."  # noqa: S105 - the prefix of one
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
# What the other side may take to answer a close: seconds.
CLOSE_WITHIN = 2.0


class EdgeSockets:
    """An ASGI application in front of another: it serves WebSockets at the transports' paths, and nothing else."""

    def __init__(self, app: Quart, inner: App, hub: "Hub", closing: asyncio.Event) -> None:
        self._app = app
        self._inner = inner
        self._hub = hub
        self._closing = closing
        self._names = security.names_of(hub)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("websocket", "http"):
            for transport in self._hub.transports:
                if isinstance(transport, SocketTransport) and transport.path == scope["path"]:
                    await self._serve(transport, scope, receive, send)
                    return
        await self._inner(scope, receive, send)

    async def _serve(self, transport: SocketTransport, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            detail = f"this is a WebSocket for robots; open it as {transport.address}?robot=<id>"
            await _respond(problem(426, detail, instance=transport.path), "http.response", send)
            return
        incoming = _incoming(scope)
        connection = _connection(incoming, transport)
        refusal = security.refusal(incoming, self._names, unsafe=True) or await self._refusal(connection)
        if refusal is not None:
            await _respond(refusal, "websocket.http.response", send)
            return
        await receive()  # websocket.connect
        offered = SUBPROTOCOL in incoming.requested_subprotocols
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None, "headers": []})
        socket = AsgiSocket(receive, send)
        await self._until_closing(transport, socket, connection)
        await socket.finish()

    async def _refusal(self, connection: Connection) -> Response | None:
        if connection.robot is not None and not topics.ROBOT_ID.fullmatch(connection.robot):
            detail = f"robot: {connection.robot[:80]!r} is not a robot id, expected [A-Za-z0-9_-]{{1,64}}"
            return problem(400, detail, "robot", instance=connection.path)
        access = await authenticate(self._hub.auth, connection)
        if not isinstance(access, Deny):
            return None
        response = problem(401, access.reason, instance=connection.path)
        response.headers["WWW-Authenticate"] = "Bearer"
        return response

    async def _until_closing(self, transport: SocketTransport, socket: "AsgiSocket", connection: Connection) -> None:
        """Serve until the socket is done with, or the hub stops."""
        serving = asyncio.create_task(transport.serve(socket, connection), name=f"hub.{transport.name}.serve")
        closing = asyncio.create_task(self._closing.wait(), name=f"hub.{transport.name}.closing")
        try:
            await asyncio.wait({serving, closing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            serving.cancel()
            closing.cancel()
            outcome, _ = await asyncio.gather(serving, closing, return_exceptions=True)
        if isinstance(outcome, Exception):
            log.error("the connection of robot %s failed", connection.robot or "?", exc_info=outcome)
            await socket.close(INTERNAL_ERROR, "the hub made a mistake; its log says more")
        elif self._closing.is_set():
            await socket.close(SERVICE_RESTART, "the hub stops")


class AsgiSocket:
    """A robot's socket, as transports see it."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._open = True

    async def receive(self) -> bytes | None:
        """See `RobotSocket`."""
        if not self._open:
            return None
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._open = False
            return None
        text: str | None = message.get("text")
        frame: bytes = message["bytes"] if text is None else text.encode()
        return frame

    async def send(self, frame: bytes) -> None:
        """See `RobotSocket`."""
        if self._open:
            await self._send({"type": "websocket.send", "bytes": None, "text": frame.decode()})

    async def close(self, code: int, reason: str) -> None:
        """See `RobotSocket`."""
        if self._open:
            self._open = False
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN):
                    await self._send({"type": "websocket.close", "code": code, "reason": reason})
                    # Hypercorn must not be left waiting to hand on what nobody takes any more
                    while (await self._receive())["type"] == "websocket.receive":
                        pass

    async def finish(self) -> None:
        """Close it if nobody has."""
        await self.close(1000, "")


def _incoming(scope: Scope) -> Websocket:
    """The opening request, read as Quart reads it."""

    async def unused(*_: object) -> None:
        raise NotImplementedError

    headers = Headers([(name.decode("latin1").title(), value.decode("latin1")) for name, value in scope["headers"]])
    headers["Remote-Addr"] = (scope.get("client") or ["<local>"])[0]
    return Websocket(
        scope["path"],
        scope["query_string"],
        scope["scheme"],
        headers,
        "",
        scope["http_version"],
        list(scope["subprotocols"]),
        unused,
        unused,
        unused,
        unused,
        scope,  # type: ignore[arg-type]
    )


def _connection(incoming: Websocket, transport: SocketTransport) -> Connection:
    return Connection(
        "robot",
        transport.name,
        incoming.remote_addr,
        forwarded=security.is_forwarded(incoming),
        token=_token(incoming),
        robot=incoming.args.get("robot"),
        method="GET",
        path=incoming.path,
    )


def _token(incoming: Websocket) -> str | None:
    """The token as a bearer, as the password of basic authentication, as a subprotocol, or in the cookie."""
    scheme, _, value = incoming.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    for offered in incoming.requested_subprotocols:
        if offered.startswith(TOKEN_SUBPROTOCOL):
            return offered.removeprefix(TOKEN_SUBPROTOCOL)
    return security.token_of(incoming)


async def _respond(response: Response, kind: str, send: Send) -> None:
    body = await response.get_data(as_text=False)
    headers = [(name.lower().encode(), value.encode()) for name, value in response.headers.items()]
    await send({"type": f"{kind}.start", "status": response.status_code, "headers": headers})
    await send({"type": f"{kind}.body", "body": body, "more_body": False})
