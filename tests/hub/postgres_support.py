"""What the tests of the store in PostgreSQL have in common."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from botyard.store.base import Batch, EventRow, Position, StoreError
from botyard.store.postgres import PostgresStore
from botyard_schemas.clock import SystemClock
from tests.hub.support import Column, filled

NOW = 1_763_712_000_000_000  # a Friday


class Hurried(SystemClock):
    """Sleeps a hundredth of what it is asked to. Its time stands still until it is told to go on."""

    def __init__(self) -> None:
        self.time = NOW
        self.seconds = 0.0

    def now(self) -> int:
        return self.time

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 100)


def store_at(url: str, **options: Any) -> PostgresStore:
    """A store whose clock stands still, and whose name in sentences is short."""
    return PostgresStore(url, name="the database", **{"clock": Hurried(), **options})


def batch(n: int) -> Batch:
    """Two samples, an event and a position, all of them `n`."""
    event = EventRow(ts=n, robot="r", actor="robot:r", name="e", severity="info")
    column = Column("r", "c", "integer", None, [n, n], [n, n])
    return filled(columns=[column], events=[event], positions=[Position("r", "e", n)])


def many(count: int, channel: str = "c", robot: str = "r") -> Batch:
    """Samples from 0 to `count`."""
    return filled(columns=[Column(robot, channel, "integer", None, list(range(count)), list(range(count)))])


async def ask(url: str, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """What another program finds in the database."""
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()


async def until(condition: Callable[[], Any]) -> None:
    """Wait for something that a real process does."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - a process sets no event
            await asyncio.sleep(0.01)


async def retried(store: PostgresStore, what: Batch) -> int:
    """Commit until it is done; how often it failed."""
    for failures in range(2000):
        with contextlib.suppress(StoreError):
            await store.commit(what)
            return failures
        await asyncio.sleep(0.01)
    raise AssertionError("the store did not recover")


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged as an error."""
    return [record.message for record in caplog.records if record.levelno >= logging.ERROR]
