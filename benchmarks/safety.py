"""How soon a robot stops while its link is saturated, and how soon an edge is there: `python -m benchmarks.safety`.

A real edge process gathers a backlog while there is a broker and no hub. Then the hub is started, and while the backlog
drains as fast as it goes, a driver presses its emergency stop from a thread of its own, 80 times, and blocks the event
loop, 10 times. Measured are the times to the driver's `halt`; for the blocked loop it is called by the safety thread.
`bare` is the same press in an event loop that does nothing else, at the same time: what the machine itself takes; and
`press_cpu` is what the loop's thread computed between press and halt, which does not depend on what else is running.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.edge import import_cost, once
from benchmarks.machine import broker, hub, save
from benchmarks.safety_driver import PRESS_EVERY, PRESSES
from botyard_edge.local.door import DoorError, Request, ask

# What the design asks for: milliseconds.
WANTED = {"press_p99_ms": 5.0, "block_max_ms": 250.0, "first_state_ms": 1000.0, "import_ms": 150.0}
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Reaction:
    """Of one process. Milliseconds; `drained` messages left its outbox per second, and `left` were in it at the end."""

    press_p50_ms: float
    press_p99_ms: float
    press_max_ms: float
    press_cpu_p50_ms: float
    press_cpu_p99_ms: float
    bare_p50_ms: float
    bare_p99_ms: float
    block_p50_ms: float
    block_max_ms: float
    drained: float
    left: int
    load: float


@contextlib.asynccontextmanager
async def edge(folder: Path, port: int, backlog: int) -> AsyncIterator[None]:
    """A running edge with the benchmark's driver, and nothing that holds its backlog back."""
    settings = {
        "robot": "bench",
        "plugins": ["benchmarks.safety_driver"],
        "link": {"url": f"mqtt://127.0.0.1:{port}", "backlog_rate": 100_000},
        "telemetry": {"max_samples": 1},
        "drivers": {"bench": {"options": {"backlog": backlog}}},
        "safety": {"watchdogs": {"event_loop": "250 ms"}},
    }
    (folder / "robot.yaml").write_text(yaml.safe_dump(settings))
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "botyard_edge.cli", "run", "robot.yaml"),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=(folder / "log").open("wb"),
    )
    try:
        yield
    finally:
        started.kill()
        await started.wait()


async def until(folder: Path, what: str) -> None:
    """Wait for a note of the driver."""
    async with asyncio.timeout(300):
        while not any(note["what"] == what for note in notes(folder)):  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.2)


def notes(folder: Path) -> list[dict[str, Any]]:
    """What the driver wrote down."""
    with contextlib.suppress(FileNotFoundError):
        text = (folder / "notes").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return []


async def waiting(folder: Path) -> int:
    """Messages in the outbox."""
    door = folder / "state" / "bench.outbox.db.local.sock"
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(DoorError):
                return (await asyncio.to_thread(ask, door, Request("status"))).status.link.backlog
            await asyncio.sleep(0.1)


async def react(port: int, backlog: int) -> Reaction:
    """One life of an edge."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with edge(folder, port, backlog):
            await until(folder, "filled")
            async with hub(port):
                before = full = await waiting(folder)
                while before > full - 1000:  # it drains
                    await asyncio.sleep(0.1)
                    before = await waiting(folder)
                (folder / "go").touch()
                began = asyncio.get_running_loop().time()
                bare = await presses_of_nothing()
                await until(folder, "pressed")
                past = asyncio.get_running_loop().time() - began
                between = await waiting(folder)
                await until(folder, "blocked")
                left = await waiting(folder)
        return reaction(notes(folder), bare, (before - between) / past, left)


async def presses_of_nothing() -> list[float]:
    """The same presses in this process, whose loop has nothing else to do: milliseconds, in order."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []

    def note(at: float) -> None:
        taken.append((time.monotonic() - at) * 1000.0)

    def device() -> None:
        for _ in range(PRESSES):
            time.sleep(PRESS_EVERY)
            at = time.monotonic()
            loop.call_soon_threadsafe(note, at)

    await asyncio.to_thread(device)
    return sorted(taken)


def p99(values: list[float]) -> float:
    """Of values in order."""
    return values[max(0, round(0.99 * len(values)) - 1)]


def reaction(found: list[dict[str, Any]], bare: list[float], drained: float, left: int) -> Reaction:
    """What the notes say."""
    times: dict[str, list[float]] = {"press": [], "block": []}
    used: list[float] = []
    for index, note in enumerate(found):
        if note["what"] not in times:
            continue
        halts = (one for one in found[index + 1 :] if one["what"] == "halt" and one["because"] == note["what"])
        halt = next(halts)
        times[note["what"]].append((halt["at"] - note["at"]) * 1000.0)
        if note["what"] == "press":
            used.append((halt["cpu"] - note["cpu"]) * 1000.0)
        assert note["what"] == "press" or halt["thread"] == "edge.safety"
    press, block = sorted(times["press"]), sorted(times["block"])
    used.sort()
    return Reaction(
        statistics.median(press),
        p99(press),
        press[-1],
        statistics.median(used),
        p99(used),
        statistics.median(bare),
        p99(bare),
        statistics.median(block),
        block[-1],
        drained,
        left,
        psutil.getloadavg()[0],
    )


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=60_000)
    options = parser.parse_args()
    rounds: list[dict[str, float]] = []
    for number in range(options.rounds):
        async with broker() as running:
            found = asdict(await react(running.port, options.backlog))
        async with broker() as running:
            found["first_state_ms"] = 1000.0 * (await once(f"start-{number}", running.port, 0.1)).first_state_s
        found["import_ms"], found["import_cpu_ms"] = (1000.0 * part for part in await import_cost())
        rounds.append(found)
        print("  ".join(f"{key} {value:.1f}" for key, value in found.items()), flush=True)
    result = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    for key, most in WANTED.items():
        print(f"{key:15} median {result[key]:7.1f}  wanted below {most:g}: {'yes' if result[key] < most else 'NO'}")
    save("safety", {"rounds": rounds, "median": result})


if __name__ == "__main__":
    asyncio.run(main())
