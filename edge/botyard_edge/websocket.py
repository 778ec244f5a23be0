"""The hub's own WebSocket, for networks that block MQTT: a frame is an envelope, and presence is the socket."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from botyard_edge.tls import SYSTEM, Tls
from botyard_edge.transport import Received, Session, TransportError, Will
from botyard_schemas import topics

PATH = "/edge/v1"
# Frames of the hub that wait to be looked at; then the hub is held up.
MAX_INCOMING = 64
MAX_FRAME = 1024 * 1024
# What a goodbye may take, since the other side may be gone: seconds.
CLOSE_WITHIN = 2.0


class _Head(msgspec.Struct):
    type: str


class _Problem(msgspec.Struct):
    detail: str


_head = msgspec.json.Decoder(_Head)
_problem = msgspec.json.Decoder(_Problem)


@dataclass(frozen=True, slots=True)
class WebSocketTransport:
    """The way to one hub. `url` is `ws://host[:port][/path]/edge/v1` or `wss://…`; without a path `/edge/v1` is meant.
    Times are seconds; a hub that leaves a ping unanswered for twice `keepalive` is gone."""

    robot: str
    url: str
    username: str | None = None
    password: str | None = None
    token: str | None = None
    keepalive: int = 15
    timeout: float = 10.0
    tls: Tls = SYSTEM

    @property
    def address(self) -> str:
        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        port = f":{parts.port}" if parts.port else ""
        path = parts.path if parts.path.strip("/") else PATH
        return f"{parts.scheme}://{host}{port}{path}"

    @asynccontextmanager
    async def session(self, will: Will) -> AsyncGenerator[Session, None]:
        del will  # the hub makes it up itself, from what the robot says of its presence
        socket = await self._connect()
        try:
            yield _WebSocketSession(self.robot, socket, 4 * self.keepalive)
        finally:
            try:
                async with asyncio.timeout(2 * CLOSE_WITHIN):
                    await socket.close()
            except TimeoutError:  # it waits for the network to take what was written before
                socket.transport.abort()

    async def _connect(self) -> ClientConnection:
        secure = urlsplit(self.url).scheme == "wss"
        try:
            return await connect(
                f"{self.address}?robot={quote(self.robot)}",
                additional_headers=self._credentials(),
                user_agent_header="botyard-edge",
                compression=None,  # it would cost 300 KB of memory, and messages are small
                open_timeout=self.timeout,
                close_timeout=CLOSE_WITHIN,
                ping_interval=self.keepalive,
                ping_timeout=2 * self.keepalive,
                max_size=MAX_FRAME,
                max_queue=MAX_INCOMING,
                ssl=self.tls.context() if secure else None,
            )
        except (OSError, TimeoutError, WebSocketException) as error:
            raise TransportError(_refusal(error)) from error

    def _credentials(self) -> dict[str, str]:
        if self.token is not None:
            return {"Authorization": f"Bearer {self.token}"}
        if self.password is not None:
            pair = f"{self.username or self.robot}:{self.password}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        return {}


class _WebSocketSession:
    def __init__(self, robot: str, socket: ClientConnection, send_within: float) -> None:
        self._robot = robot
        self._socket = socket
        self._send_within = send_within

    async def subscribe(self, topic: str) -> None:
        del topic  # everything that comes is for this robot

    async def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool = False, wait: bool = False) -> None:
        del topic, qos, retain, wait  # the envelope says it all, and a socket knows one quality of service
        try:
            # While the network takes nothing, pings wait as well, and nobody would find out.
            async with asyncio.timeout(self._send_within):
                await self._socket.send(payload, text=True)
        except TimeoutError as error:
            raise TransportError(f"the network has taken nothing for {self._send_within:g} s") from error
        except ConnectionClosed as error:
            raise TransportError(_end(error)) from error

    async def messages(self) -> AsyncIterator[Received]:
        try:
            while True:
                frame: Any = await self._socket.recv(decode=False)
                yield Received(topics.down(self._robot, _type(frame)), frame)
        except ConnectionClosed as error:
            raise TransportError(_end(error)) from error


def _type(frame: bytes) -> str:
    try:
        return _head.decode(frame).type
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "frame"  # whoever takes it says what is wrong with it


def _end(error: ConnectionClosed) -> str:
    if error.rcvd is not None and error.rcvd.reason:
        return f"the hub closed the connection: {error.rcvd.reason}"
    if error.sent is not None and error.sent.reason:
        return f"the connection was closed: {error.sent.reason}"
    return "the connection broke"


def _refusal(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, InvalidStatus):
        response = error.response
        try:
            detail = _problem.decode(response.body or b"").detail
        except (msgspec.DecodeError, UnicodeDecodeError):
            detail = response.reason_phrase
        return f"the connection is refused (HTTP {response.status_code}): {detail}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
