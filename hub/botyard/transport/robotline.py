"""One robot's WebSocket: what it sends goes to ingest, what the hub has for it waits in a bounded queue."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from botyard.plugin.api import Connection, Inbound, Inbox, RobotSocket
from botyard_schemas import Envelope, Presence, encode, topics
from botyard_schemas.clock import Clock

# What waits for a robot that does not read, at most; a message beyond that is not taken.
MAX_WAITING = 256
MAX_WAITING_BYTES = 1024 * 1024
# A frame that the network does not take within this finds the robot gone: seconds.
SEND_WITHIN = 20.0
# A socket over which nothing comes for this long is dead, or its robot is: seconds. Only frames count, since the web
# server answers a robot's pings by itself.
SILENT_AFTER = 120.0

MESSAGE_TYPE = re.compile(r"[a-z_]{1,32}")
# Stands in the topic of a frame whose type cannot be read; messages over MQTT always have one.
UNREADABLE = "frame"


class Ending(NamedTuple):
    """How the hub closes a socket: the code, and a sentence of at most 123 bytes."""

    code: int
    reason: str


SILENT = Ending(4003, f"nothing was heard for {SILENT_AFTER:g} s; send something at least once a minute")
SLOW = Ending(4004, f"the robot has not read for {SEND_WITHIN:g} s")
NAMELESS = Ending(4005, "no message has named the robot; say ?robot=<id> in the URL or send an envelope first")


class _Head(msgspec.Struct):
    """What the line itself has to know of an envelope."""

    robot: str
    type: str
    body: msgspec.Raw = msgspec.Raw()


class _Said(msgspec.Struct):
    """What it has to know of a presence message."""

    session: str
    status: str


_head = msgspec.json.Decoder(_Head)
_said = msgspec.json.Decoder(_Said)
UNREAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class RobotLine:
    """Serves one socket. `join` is called once the robot is known; `end` closes the socket from outside.

    Frames of more than `look_into` bytes are handed on without a look at them, as ingest quarantines them.
    """

    def __init__(
        self,
        socket: RobotSocket,
        connection: Connection,
        inbox: Inbox,
        clock: Clock,
        *,
        transport: str,
        session: str,
        look_into: int,
        join: Callable[["RobotLine"], None],
    ) -> None:
        self.robot = ""
        self._socket = socket
        self._connection = connection
        self._inbox = inbox
        self._clock = clock
        self._transport = transport
        self._session = session
        self._look_into = look_into
        self._join = join
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._acks: dict[str, bytes] = {}
        self._wake = asyncio.Event()
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._online = False

    async def run(self) -> None:
        """Serve until the socket is closed. When it is the robot that is gone, its presence says so."""
        if self._connection.robot:
            self._meet(self._connection.robot)
        tasks: set[asyncio.Future[None]] = {
            asyncio.create_task(self._read(), name=f"hub.websocket.read {self.robot}"),
            asyncio.create_task(self._write(), name=f"hub.websocket.write {self.robot}"),
        }
        try:
            watched: set[asyncio.Future[Any]] = {*tasks, self._ending}
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result
        ending = self._ending.result() if self._ending.done() else None
        if ending:
            await self._socket.close(*ending)
        if ending is None or ending in (SILENT, SLOW):
            await self._say("offline", "socket_closed")

    def end(self, ending: Ending) -> None:
        """Close the socket; the first reason counts."""
        if not self._ending.done():
            self._ending.set_result(ending)

    def put(self, frame: bytes, *, replaces: str | None = None) -> bool:
        """Have a frame sent; False when too much waits already. Of frames that replace the same thing only the newest
        is sent."""
        if replaces is not None and (replaces in self._acks or len(self._acks) < MAX_WAITING):
            self._acks[replaces] = frame
        elif len(self._waiting) < MAX_WAITING and self._waiting_bytes + len(frame) <= MAX_WAITING_BYTES:
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)
        else:
            return False
        self._wake.set()
        return True

    def _meet(self, robot: str) -> None:
        self.robot = robot
        self._join(self)

    # --- to the robot

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._acks or self._waiting:
                try:
                    async with asyncio.timeout(SEND_WITHIN):
                        await self._socket.send(self._next())
                except TimeoutError:
                    self.end(SLOW)
                    return

    def _next(self) -> bytes:
        if self._acks:
            return self._acks.pop(next(iter(self._acks)))
        frame = self._waiting.popleft()
        self._waiting_bytes -= len(frame)
        return frame

    # --- from the robot

    async def _read(self) -> None:
        while True:
            try:
                async with asyncio.timeout(SILENT_AFTER):
                    frame = await self._socket.receive()
            except TimeoutError:
                self.end(SILENT)
                return
            if frame is None:
                return
            await self._take(frame)

    async def _take(self, frame: bytes) -> None:
        head = self._head(frame)
        if not self.robot:
            if head is None or not topics.ROBOT_ID.fullmatch(head.robot):
                self.end(NAMELESS)
                return
            self._meet(head.robot)
        kind = head.type if head and MESSAGE_TYPE.fullmatch(head.type) else UNREADABLE
        if head and kind == "presence":
            self._note_presence(head)
        elif not self._online and kind not in ("time", UNREADABLE):
            await self._say("online", "connected")
        topic = topics.presence(self.robot) if kind == "presence" else topics.up(self.robot, kind)
        await self._hand_on(topic, frame)

    def _head(self, frame: bytes) -> _Head | None:
        if len(frame) > self._look_into:
            return None
        try:
            return _head.decode(frame)
        except UNREAD:
            return None

    def _note_presence(self, head: _Head) -> None:
        """From now on the robot speaks for itself, and the hub only says in its name what it could not say any more."""
        try:
            said = _said.decode(head.body)
        except UNREAD:
            return
        self._session = said.session
        self._online = said.status == "online"

    async def _say(self, status: str, reason: str) -> None:
        """Say a presence in the robot's name; that it is gone only if it had been said to be there."""
        if not self.robot or self._online == (status == "online"):
            return
        self._online = status == "online"
        body = Presence(status=status, session=self._session, reason=reason)  # type: ignore[arg-type]
        await self._hand_on(topics.presence(self.robot), encode(Envelope(self.robot, self._clock.now(), body)))

    async def _hand_on(self, topic: str, payload: bytes) -> None:
        connection = self._connection
        message = Inbound(topic, payload, self._clock.now(), self._transport, connection.peer)
        await self._inbox.receive(message, connection.token)
