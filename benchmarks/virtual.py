"""Runs of `botyard bench` for the other benchmarks: the same plan several times, and the medians."""

import asyncio
import contextlib
import statistics
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable

import msgspec

from botyard_plugins.bench.plan import Plan
from botyard_plugins.bench.result import Result
from botyard_plugins.bench.run import run
from tests.postgres import PostgresServer

# Unlike in tests, what is committed is on the disk, as with SQLite; the rest is as PostgreSQL comes.
DURABLE = {"shared_buffers": "128MB", "max_connections": "40"}


async def once(plan: Plan) -> Result:
    """One run. Raises AssertionError when a message was lost or doubled."""
    result = await run(plan, lambda _title, _detail: None)
    assert result.verified.ok, result.verified
    return result


async def rounds(plan: Plan, count: int, store: str = "sqlite") -> list[Result]:
    """So many results of a plan as `once` gives them, each on a new `store`, `sqlite` or `postgresql`."""
    async with contextlib.aclosing(_databases(store, count)) as urls:
        return [await once(msgspec.structs.replace(plan, store=url)) async for url in urls]


def median(results: Iterable[Result], value: Callable[[Result], float | None], digits: int = 2) -> float | None:
    """The median of what `value` finds in each; None when it finds nothing."""
    found = [one for result in results if (one := value(result)) is not None]
    return round(statistics.median(found), digits) if found else None


@contextlib.asynccontextmanager
async def postgres() -> AsyncIterator[Callable[[], str]]:
    """A real PostgreSQL; each call makes a new database and gives its URL, and belongs into a thread."""
    server = await asyncio.to_thread(PostgresServer, DURABLE)

    def database() -> str:
        return server.url(server.create())

    try:
        yield database
    finally:
        await asyncio.to_thread(server.close)


async def _databases(store: str, count: int) -> AsyncGenerator[str | None, None]:
    """For each round a store as `--store` names it: None is SQLite, in a new folder each time."""
    if store == "sqlite":
        for _ in range(count):
            yield None
        return
    async with postgres() as database:
        for _ in range(count):
            yield await asyncio.to_thread(database)
