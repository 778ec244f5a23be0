"""What the SQLite writer and reader processes have in common: their loop, their connection, their sentences.

Standard library and msgspec only, so that they are up in some 50 ms.
"""

import os
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from botyard.store import frames
from botyard.store.frames import Answer, Request

# What bad data or a bad database can raise; anything else is our mistake, ends the process and shows its traceback.
REFUSALS = (sqlite3.Error, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)


class Refused(Exception):  # noqa: N818 - an outcome
    """It was not done; the sentence says why."""


def serve(answer: Callable[[Request], Answer], greeting: Callable[[], bytes], threads: int = 1) -> None:
    """Greet, then answer requests from stdin until it closes, which is how the process is ended.

    With one thread answers come in the order of the requests. The hub decides when to stop, also when Ctrl+C or a
    service manager signals the whole process group.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    answers = os.dup(1)
    os.dup2(2, 1)  # a stray print must not look like an answer
    requests = os.fdopen(0, "rb", buffering=1 << 20)
    decoder = msgspec.msgpack.Decoder(Request)
    sending = threading.Lock()

    def reply(request: Request) -> None:
        content = frames.frame(answer(request))
        with sending:
            _send(answers, content)

    try:
        hello = Answer(0, frames.OK, greeting())
    except Refused as refused:
        hello = Answer(0, frames.FAILED, str(refused).encode())
    try:
        _send(answers, frames.frame(hello))
        pool = ThreadPoolExecutor(threads) if threads > 1 else None
        while hello.outcome == frames.OK and (content := frames.read(requests)) is not None:
            request = decoder.decode(content)
            if pool is None or request.op == "ping":
                reply(request)
            else:
                pool.submit(_or_die, reply, request)
        if pool is not None:
            os._exit(0)  # nobody waits for the answers any more
    except BrokenPipeError:
        return  # the hub is gone; what it was not told about, its robots will send again


def _or_die(reply: Callable[[Request], None], request: Request) -> None:
    """A mistake of ours in a thread ends the process, as without threads: the hub sees it and starts another."""
    try:
        reply(request)
    except BaseException as error:  # noqa: BLE001 - printed, and the end of the process
        if not isinstance(error, BrokenPipeError):
            traceback.print_exc()
        os._exit(1)


def connect(path: Path, **pragmas: str | int) -> sqlite3.Connection:
    """A connection without implicit transactions. Raises Refused."""
    try:
        db = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        for name, value in pragmas.items():
            db.execute(f"PRAGMA {name}={value}")
    except sqlite3.Error as error:
        raise Refused(sentence(path, error)) from error
    return db


def sentence(path: Path, error: BaseException) -> str:
    """What went wrong, for people."""
    code = getattr(error, "sqlite_errorname", "").split("_")[:2]
    match code:
        case ["SQLITE", "FULL"]:
            return f"{path}: the disk is full, or the database has reached its size limit"
        case ["SQLITE", "BUSY" | "LOCKED"]:
            return f"{path}: another program keeps the database locked"
        case ["SQLITE", "CORRUPT"]:
            return f"{path}: the database is damaged ({error})"
        case ["SQLITE", "NOTADB"]:
            return f"{path}: this is not an SQLite database"
        case ["SQLITE", "INTERRUPT"]:
            return f"{path}: reading took too long; ask for a shorter time or fewer channels"
    if isinstance(error, MemoryError):
        return f"{path}: out of memory"
    return f"{path}: {error}"


def arguments() -> tuple[Path, bytes]:
    """Path of the database and options as JSON, from the command line."""
    if len(sys.argv) not in (2, 3):
        raise SystemExit(f"usage: {Path(sys.argv[0]).name} <database> [options as JSON]")
    return Path(sys.argv[1]), sys.argv[2].encode() if len(sys.argv) == 3 else b"{}"


def _send(pipe: int, content: bytes | bytearray) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(pipe, left) :]
