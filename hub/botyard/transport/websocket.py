"""The hub's own WebSocket at `/edge/v1`, for robots where MQTT is blocked: a frame is an envelope, and presence is the
socket.

The hub does here what a broker does for MQTT: when a socket ends without a goodbye it says so in the robot's name. A
robot that says no presence itself is online from its first message until its socket closes.
"""

import contextlib
import secrets
from collections.abc import Sequence
from typing import Any, Self

from botyard.core.events import RobotRemoved
from botyard.plugin.api import (
    AuthProvider,
    Connection,
    Inbox,
    PluginContext,
    RobotSocket,
    SocketTransport,
    Transport,
    hookimpl,
)
from botyard.transport.robotline import Ending, RobotLine
from botyard_schemas import Ack, Envelope, encode

PATH = "/edge/v1"
# Close codes of ours, told with a sentence; RFC 6455 leaves 4000 to 4999 to applications.
REPLACED = Ending(4001, "a newer connection of this robot has taken over")
REMOVED = Ending(4002, "the robot was removed from the hub")


@hookimpl
def botyard_transports(
    context: PluginContext,
    inbox: Inbox,
    auth: Sequence[AuthProvider],  # noqa: ARG001 - the web server asks them
) -> Sequence[Transport] | None:
    if "web" not in context.config.roles:
        return None  # nobody would listen
    return [WebSocketTransport(context, inbox)]


class WebSocketTransport(SocketTransport):
    """The robots that are connected to the hub's web server, one socket each."""

    name = "websocket"
    path = PATH

    def __init__(self, context: PluginContext, inbox: Inbox) -> None:
        self._context = context
        self._inbox = inbox
        self._url: str | None = None
        self._lines: dict[str, RobotLine] = {}
        self._stack = contextlib.ExitStack()

    async def __aenter__(self) -> Self:
        self._stack.callback(self._context.bus.subscribe(RobotRemoved, self._forget))
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        return f"{self._url or ''}{self.path}".replace("http", "ws", 1)

    @property
    def connected(self) -> bool:
        return self._url is not None

    @property
    def error(self) -> str | None:
        return None if self._url else "the web server does not listen"

    @property
    def connections(self) -> int:
        return len(self._lines)

    def listening(self, url: str | None) -> None:
        self._url = url

    async def send(self, envelope: Envelope) -> bool:
        line = self._lines.get(envelope.robot)
        if line is None:
            return False
        body = envelope.body
        return line.put(encode(envelope), replaces=body.epoch if isinstance(body, Ack) else None)

    async def serve(self, socket: RobotSocket, connection: Connection) -> None:
        line = RobotLine(
            socket,
            connection,
            self._inbox,
            self._context.clock,
            transport=self.name,
            session=secrets.token_hex(8),
            look_into=self._context.config.ingest.max_message_bytes,
            join=self._join,
        )
        try:
            await line.run()
        finally:
            if self._lines.get(line.robot) is line:
                del self._lines[line.robot]

    def _join(self, line: RobotLine) -> None:
        """A line knows its robot now. The newest connection of a robot counts."""
        known = self._lines.get(line.robot)
        self._lines[line.robot] = line
        if known is not None:
            known.end(REPLACED)

    def _forget(self, removed: RobotRemoved) -> None:
        if line := self._lines.get(removed.robot):
            line.end(REMOVED)
