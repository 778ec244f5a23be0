"""What several tests of the hub use."""

import asyncio
import queue
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import pytest

from botyard.core.actor import HUB
from botyard.core.events import EventCommitted, EventNoted
from botyard.store.base import Batch, Block, CommandRow, Committed, EventRow, RobotRow, StoreError
from botyard.store.factory import open_store
from botyard.store.hot import shard_of
from botyard.testing import FakeRobot, RunningHub, running_hub


async def get(running: RunningHub, path: str, **query: Any) -> Any:
    """What the API answers, as JSON; it has to be a success."""
    answer = await running.api.get(f"/api/v1/{path}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def counters(running: RunningHub) -> dict[str, int]:
    """What the API says of the messages since the start."""
    found: dict[str, int] = (await get(running, "hub"))["counters"]
    return found


async def stored(running: RunningHub, robot: str, channel: str = "x") -> list[Any]:
    """The values of a channel that are in the store, in the order of their time."""
    page = await get(running, "readings", robot=robot, channel=channel)
    return [item["value"] for item in page["items"]]


async def quarantine(running: RunningHub, **query: Any) -> list[dict[str, Any]]:
    """The quarantine, the oldest message first."""
    items: list[dict[str, Any]] = (await get(running, "quarantine", **query))["items"]
    return items[::-1]


def samples(robot: FakeRobot, *values: Any, **changes: Any) -> dict[str, Any]:
    """The robot's next telemetry message, with these samples of the channel `x`, a millisecond apart."""
    group = {"dt": [1000 * n for n in range(len(values))], "channels": [{"name": "x", "values": list(values)}]}
    return robot.message("telemetry", {"groups": [group]}, **changes)


async def noted(running: RunningHub) -> None:
    """Wait until all events that the hub noted up to now are in the store: one more is committed after them."""
    hub, seen = running.hub, asyncio.Event()
    unsubscribe = hub.bus.subscribe(EventCommitted, lambda done: seen.set() if done.event.name == "marker" else None)
    row = EventRow(ts=hub.clock.now(), robot=None, actor="hub", name="marker", severity="debug")
    hub.bus.publish(EventNoted(actor=HUB, event=row))
    async with asyncio.timeout(20):
        await seen.wait()
    unsubscribe()


class FlakyStore:
    """The real store, whose writing fails while `broken`. `commits` counts the attempts."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.broken = False
        self.commits = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._store.__aexit__(*exc)

    def _check(self) -> None:
        if self.broken:
            raise StoreError("the disk is full, on purpose")

    async def commit(self, batch: Batch) -> Committed:
        self.commits += 1
        self._check()
        committed: Committed = await self._store.commit(batch)
        return committed

    async def add_robot(self, robot: RobotRow) -> None:
        self._check()
        await self._store.add_robot(robot)

    async def add_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        self._check()
        committed: Committed = await self._store.add_command(command, event)
        return committed

    async def change_command(self, command: CommandRow, event: EventRow | None = None) -> Committed:
        self._check()
        committed: Committed = await self._store.change_command(command, event)
        return committed

    async def change_robot(self, robot: RobotRow) -> None:
        self._check()
        await self._store.change_robot(robot)

    async def remove_robot(self, robot_id: str) -> None:
        self._check()
        await self._store.remove_robot(robot_id)


def make_flaky(monkeypatch: pytest.MonkeyPatch) -> Callable[[], FlakyStore]:
    """From now on hubs get a FlakyStore; gives a function that tells the last one."""
    made: list[FlakyStore] = []

    def open_flaky(*args: Any, **options: Any) -> FlakyStore:
        made.append(FlakyStore(open_store(*args, **options)))
        return made[-1]

    monkeypatch.setattr("botyard.core.hub.open_store", open_flaky)
    return lambda: made[-1]


def database(folder: Path) -> Path:
    """Where `running_hub` keeps its database."""
    return folder / "data" / "botyard.db"


async def problem(running: RunningHub, method: str, path: str, **options: Any) -> dict[str, Any]:
    """The problem document that a request gets, checked for its form."""
    answer = await running.api.request(method, path, **options)
    assert answer.is_error, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == answer.status_code
    assert document["title"]
    assert document.get("type", "about:blank") == "about:blank"
    return document


@contextmanager
def hub_in_a_thread(folder: Path, prepare: Callable[[RunningHub], Awaitable[None]]) -> Iterator[str]:
    """A hub with a loop of its own, for clients that block; gives its URL once `prepare` is done."""
    started: queue.Queue[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = queue.Queue()

    async def run() -> None:
        async with running_hub(folder) as running:
            await prepare(running)
            stop = asyncio.Event()
            started.put((running.hub.web_url or "", asyncio.get_running_loop(), stop))
            await stop.wait()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(asyncio.run, run())
        while True:
            try:
                url, loop, stop = started.get(timeout=0.1)
                break
            except queue.Empty:
                if ended.done():
                    ended.result()
        try:
            yield url
        finally:
            loop.call_soon_threadsafe(stop.set)
            ended.result(30)


class Column(NamedTuple):
    """Samples of one channel, as a test writes them down."""

    robot: str
    channel: str
    type: str
    unit: str | None
    ts: list[int]
    values: list[Any]


def telemetry(columns: Iterable[Column]) -> list[Block]:
    """Blocks as ingest makes them: a message for each column."""
    blocks = []
    for robot, name, kind, unit, ts, values in columns:
        channel = {"name": name, "type": kind, "unit": unit, "values": values}
        message = {"robot": robot, "ts": 0, "body": {"groups": [{"dt": ts, "channels": [channel]}]}}
        data = msgspec.json.encode([message])
        blocks.append(Block(shard_of(robot), min(ts, default=0), max(ts, default=0), 1, data))
    return blocks


def filled(columns: Iterable[Column] = (), **rows: Any) -> Batch:
    """A batch with telemetry."""
    return Batch(blocks=telemetry(columns), **rows)


async def until_equal(look: Callable[[], Awaitable[Any]], wanted: Any) -> None:
    """Ask again and again, for at most ten seconds."""
    for _ in range(1000):
        if await look() == wanted:
            return
        await asyncio.sleep(0.01)
    assert await look() == wanted
