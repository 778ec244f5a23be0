"""The robot's local door: a Unix socket beside the outbox, through which people at the robot see why it does not move,
stop it, and clear what is latched. Only the user that the edge runs as, and root, may use it.

Each connection is one request and one answer, a JSON object and a line each.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import msgspec

from botyard_edge.local.status import Face, Status
from botyard_edge.safety import ClearRefusedError

log = logging.getLogger(__name__)

# Bytes of a request, seconds for it and again for its answer to be read, and connections at a time and that may wait.
LARGEST, WITHIN, CONNECTIONS, BACKLOG = 16_384, 5.0, 16, 8
# Seconds that a visit may take in all: sampling channels for a calibration is what takes longest, two minutes at most.
VISIT = 150.0


# What answers about the calibration: from what is asked and who asks to a result, or the sentence why it is refused.
Asked = Callable[[Mapping[str, Any], str], Awaitable[tuple[dict[str, Any] | None, str | None]]]


class DoorError(Exception):
    """Nobody answers at the door."""


class Request(msgspec.Struct):
    """What somebody wants; `who` and `reason` are for the record. With `calibration`, `args` say what of it."""

    do: Literal["status", "set", "clear", "calibration"]
    who: str = ""
    reason: str = ""
    args: dict[str, Any] = {}


class Answer(msgspec.Struct):
    """The robot after the request. `refused`: why it was not done. `page`: the address of the local page with the key
    that clearing needs there; None: there is no page. `result` is what was asked of the calibration."""

    status: Status
    refused: str | None = None
    page: str | None = None
    result: dict[str, Any] | None = None


class LocalDoor:
    """Open while its `async with` lasts. A door that cannot be opened is told in the log: the robot works without.

    When all connections are taken, the one whose request is the longest ago, or has not come for longest, is closed for
    the new one: visitors who say nothing must not keep the emergency stop from anybody."""

    def __init__(
        self,
        path: Path,
        face: Face,
        page: Callable[[], str | None] = lambda: None,
        calibration: Asked | None = None,
    ) -> None:
        self._path = path
        self._face = face
        self._page = page
        self._calibration = calibration
        self._server: asyncio.Server | None = None
        self._inode: int | None = None
        self._visitors: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        # Those that count, the one that is the first to be turned away first.
        self._open: dict[asyncio.StreamWriter, None] = {}

    async def __aenter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            with _short(self._path) as address:
                listener.bind(address)
            self._path.chmod(0o600)
            self._inode = self._path.stat().st_ino
            self._server = await asyncio.start_unix_server(self._visit, sock=listener, limit=LARGEST, backlog=BACKLOG)
        except OSError as error:
            log.warning("%s cannot be opened, so `botyard-edge estop` does not reach this robot: %s", self._path, error)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._server is not None:
            self._server.close()
            while visitors := dict(self._visitors):  # one may just have come in
                for writer, visitor in visitors.items():
                    writer.transport.abort()
                    visitor.cancel()
                await asyncio.gather(*visitors.values(), return_exceptions=True)
            await self._server.wait_closed()
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:  # and not that of whoever opened another one there
                    self._path.unlink()

    def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def ended(_: object) -> None:
            del self._visitors[writer]
            self._open.pop(writer, None)
            writer.close()

        while len(self._open) >= CONNECTIONS:
            self._turn_away(next(iter(self._open)))
        self._open[writer] = None
        task = self._visitors[writer] = asyncio.create_task(self._converse(reader, writer), name="edge.local.door")
        task.add_done_callback(ended)

    def _turn_away(self, writer: asyncio.StreamWriter) -> None:
        del self._open[writer]
        writer.transport.abort()
        self._visitors[writer].cancel()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(VISIT):
                writer.write(await self._answered(reader, writer))
            writer.transport.set_write_buffer_limits(0)  # wait for all of it to be taken
            async with asyncio.timeout(WITHIN):
                await writer.drain()
        except OSError:  # the visitor has gone, or does not read
            writer.transport.abort()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """The answer's line, whatever was asked and however answering it fails."""
        answer: Answer | dict[str, str]
        try:
            line = await asyncio.wait_for(reader.readline(), WITHIN)
            request = msgspec.json.decode(line, type=Request)
            if self._open.pop(writer, self) is None:
                self._open[writer] = None  # the last to be turned away
            answer = self._serve(request)
            if request.do == "calibration" and self._calibration is not None:
                answer.result, answer.refused = await self._calibration(request.args, request.who)
            return msgspec.json.encode(answer) + b"\n"
        except (msgspec.DecodeError, ValueError, OSError) as error:
            answer = {"error": f"not a request: {error}"}
        except Exception as error:
            log.exception("a request at the local door could not be answered")
            answer = {"error": f"it could not be answered: {type(error).__name__}: {error}"}
        return msgspec.json.encode(answer) + b"\n"

    def _serve(self, request: Request) -> Answer:
        refused: str | None = None
        if request.do == "set":
            self._face.stop(request.who, request.reason)
        elif request.do == "clear":
            try:
                self._face.clear(request.who, request.reason)
            except ClearRefusedError as error:
                refused = str(error)
        return Answer(self._face.status(), refused, self._page())


def whoever() -> str:
    """Who runs this command, for the record. In a container a user may have no name; that must stop nobody."""
    import getpass  # of no use to a robot that runs, whose memory is counted

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def ask(path: Path, request: Request, *, within: float = WITHIN) -> Answer:
    """Ask a robot that is running; blocks, for `within` seconds at most. Raises DoorError."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short(path) as address:
            connection.settimeout(within)
            connection.connect(address)
            connection.sendall(msgspec.json.encode(request) + b"\n")
            with connection.makefile("rb") as stream:
                return msgspec.json.decode(stream.readline(), type=Answer)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise DoorError(f"no edge answers at {path}: start it with `botyard-edge run`") from error
    except (OSError, msgspec.DecodeError) as error:
        raise DoorError(f"no edge answers at {path}: {error}") from error


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The socket's address: a path through the open folder, since addresses are at most 107 bytes long."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
