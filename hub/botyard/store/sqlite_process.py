"""What the SQLite writer and reader processes have in common: their loop, their connection, their sentences.

Standard library and msgspec only, so that they are up in some 50 ms.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from botyard.store import frames
from botyard.store.frames import Answer, Request

# What bad data or a bad database can raise; anything else is our mistake, ends the process and shows its traceback.
REFUSALS = (sqlite3.Error, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)


class Refused(Exception):  # noqa: N818 - an outcome
    """It was not done; the sentence says why."""


def serve(answer: Callable[[Request], Answer], greeting: Callable[[], bytes]) -> None:
    """Greet, then answer requests from stdin in their order until it closes, which is how the process is ended.

    The hub decides when to stop, also when Ctrl+C or a service manager signals the whole process group.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # a stray print must not look like an answer
    requests = os.fdopen(0, "rb", buffering=1 << 20)
    decoder = msgspec.msgpack.Decoder(Request)
    try:
        try:
            hello = Answer(0, frames.OK, greeting())
        except Refused as refused:
            hello = Answer(0, frames.FAILED, str(refused).encode())
        _send(answers.fileno(), hello)
        while hello.outcome == frames.OK and (content := frames.read(requests)) is not None:
            _send(answers.fileno(), answer(decoder.decode(content)))
    except BrokenPipeError:
        return  # the hub is gone; what it was not told about, its robots will send again


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


def _send(pipe: int, answer: Answer) -> None:
    content = memoryview(frames.frame(answer))
    while content:
        content = content[os.write(pipe, content) :]
