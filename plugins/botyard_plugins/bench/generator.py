"""A process of virtual robots: `python -m botyard_plugins.bench.generator`, started by `botyard bench`.

Its first line of input is its task, each further one a word: `begin`, `measure`, `measured`, `stop`, `close`, `clear`.
It reports as JSON lines. It ends with its input, so it never outlives who started it.
"""

import asyncio
import contextlib
import random
import resource
import sys
from typing import Any

import msgspec

from botyard_plugins.bench.fleet import Fleet
from botyard_plugins.bench.link import KEEPALIVE, Address
from botyard_plugins.bench.plan import Plan
from botyard_schemas.clock import SystemClock

REPORT_EVERY = 0.25
# The shortest pause between two looks at what is due: longer ones make larger, cheaper writes and later messages.
TICK = 0.002
# New connections at a time.
TOGETHER = 200


class Task(msgspec.Struct, frozen=True):
    """Which of the plan's robots this process has; `run` is their epoch."""

    plan: Plan
    start: int
    end: int
    broker: str
    run: str


def say(**report: Any) -> None:
    """One line of JSON."""
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


def raise_file_limit(wanted: int) -> bool:
    """Let this process have so many open files; whether it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted and (hard == resource.RLIM_INFINITY or hard > soft):
        soft = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft >= wanted


class Generator:
    """Runs a fleet by what is said on standard input."""

    def __init__(self, task: Task) -> None:
        self._task = task
        address = Address.parse(task.broker, task.plan.token)
        self._clock = SystemClock()
        self._fleet = Fleet(task.plan, range(task.start, task.end), address, task.run, self._clock)

    async def run(self, words: asyncio.StreamReader) -> None:
        """Until the input ends or says so."""
        self._fleet.prepare()
        if not raise_file_limit(len(self._fleet.links) + 50):
            say(fatal=f"--connections: {len(self._fleet.links)} are more than this process may have open files")
            return
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._pump(), name="bench.pump"),
                tasks.create_task(self._report(), name="bench.report"),
                tasks.create_task(self._ping(), name="bench.ping"),
            ]
            links = await self._connect(tasks)
            async for line in words:
                if await self._obey(line.decode().strip()):
                    break
            for task in (*running, *links):
                task.cancel()

    async def _connect(self, tasks: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Not all at once, since a listening socket has a queue of bounded length."""
        started = []
        for number, link in enumerate(self._fleet.links):
            started.append(tasks.create_task(link.run(), name=f"bench.link.{number}"))
            if number % TOGETHER == TOGETHER - 1:
                await asyncio.sleep(0.1)
        return started

    async def _obey(self, word: str) -> bool:
        """Whether this was the last word."""
        fleet = self._fleet
        match word:
            case "begin":
                fleet.begin()
            case "measure":
                say(measuring=self._mark())
                fleet.measuring = True
            case "measured":
                fleet.measuring = False
                mark, took, late = self._mark(), fleet.acked, fleet.late
                say(measured={**mark, "took": took.thinned(), "count": took.count, "late": late.thinned()})
            case "stop":
                fleet.stop()
            case "close" | "clear":
                say(final=list(fleet.wanted()))
                ends = [link.close(fleet.goodbye(link, clear=word == "clear")) for link in fleet.links]
                await asyncio.gather(*ends)
                return True
        return False

    def _mark(self) -> dict[str, Any]:
        fleet = self._fleet
        return {"at": self._clock.monotonic(), "acked": fleet.totals.acked, "samples": fleet.samples_acked()}

    async def _pump(self) -> None:
        while True:
            self._fleet.pump()
            await asyncio.sleep(TICK)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(KEEPALIVE / 2)
            for link in self._fleet.links:
                link.ping()

    async def _report(self) -> None:
        while True:
            say(**self._fleet.report())
            await asyncio.sleep(REPORT_EVERY)


async def main() -> None:
    """Read the task and do it."""
    loop = asyncio.get_running_loop()
    words = asyncio.StreamReader(limit=2**20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(words), sys.stdin)
    task = msgspec.json.decode(await words.readline(), type=Task)
    await Generator(task).run(words)


if __name__ == "__main__":
    random.seed()
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        asyncio.run(main())
