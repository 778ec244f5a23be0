"""The work of the store's helper processes, done in this one: for simulations and tests.

Nothing has to be started, and on virtual time everything happens in its order. But the loop waits for the disk, and a
reader for the writer, so this is nothing for a hub with robots.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, Self

import msgspec

from botyard.store import frames, sqlite_reader, sqlite_writer
from botyard.store.base import StoreError
from botyard.store.compactor import Planner
from botyard.store.frames import Answer, Request
from botyard.store.sqlite_process import Refused


class Desk(Protocol):
    """What a helper process does, without its process."""

    def open(self) -> object:
        """Get ready. Raises Refused."""

    def answer(self, request: Request) -> Answer:
        """Do what is asked."""

    def close(self) -> None:
        """Let go of everything."""


class Inline:
    """As `Helper`, at a desk in this process. `make` makes it when this is entered."""

    def __init__(self, name: str, make: Callable[[], Desk]) -> None:
        self._name = name
        self._make = make
        self._desk: Desk | None = None
        self._n = 0

    async def __aenter__(self) -> Self:
        desk = self._make()
        try:
            desk.open()
        except Refused as refused:
            desk.close()
            raise StoreError(str(refused)) from refused
        self._desk = desk
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._desk is not None:
            self._desk.close()
            self._desk = None

    async def ask(self, op: str, body: bytes = b"") -> bytes:
        """As `Helper.ask`."""
        if self._desk is None:
            raise StoreError(f"the {self._name} is closed")
        self._n += 1
        answer = self._desk.answer(Request(self._n, op, body))
        if answer.outcome == frames.OK:
            return answer.body
        if answer.outcome == frames.KEY:
            raise KeyError(answer.body.decode())
        raise StoreError(answer.body.decode())

    async def change(self, op: str, body: bytes) -> bytes:
        """As `Helper.change`."""
        return await self.ask(op, body)


def writer(path: Path, options: Mapping[str, Any]) -> Inline:
    """What `sqlite_writer` is as a process."""
    return Inline("SQLite writer", lambda: sqlite_writer.Writer(path, msgspec.convert(options, sqlite_writer.Options)))


def reader(path: Path, options: Mapping[str, Any]) -> Inline:
    """What `sqlite_reader` is as a process."""
    return Inline("SQLite reader", lambda: sqlite_reader.Reader(path, msgspec.convert(options, sqlite_reader.Options)))


def compactor() -> Inline:
    """What `compactor` is as a process."""
    return Inline("compactor", Planner)
