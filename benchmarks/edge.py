"""What the edge costs on a robot, and how fast it is there: `python -m benchmarks.edge`.

The driver `sim` with 20 signals at 10 Hz (and its own dozen channels), the outbox on disk, connected to a real hub.
Start is from the process's begin to its first state on the wire; CPU is the process's own time as a share of one core.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

import aiomqtt
import psutil

from benchmarks.machine import broker, hub, save
from botyard_schemas import topics

SIGNALS = 20
SETTLED = 5.0  # s, after which the start's work is over

IMPORT = """
import time
began, used = time.perf_counter(), time.process_time()
import botyard_edge.cli
print(time.perf_counter() - began, time.process_time() - used)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process while it works; memory in MiB, `disk` in bytes per second that reach the block layer."""

    first_state_s: float
    cpu_percent: float
    wakeups: float
    disk: float
    rss: float
    pss: float
    uss: float


@contextlib.asynccontextmanager
async def edge(robot: str, url: str) -> AsyncIterator[psutil.Process]:
    """A running edge."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "robot.yaml"
        settings.write_text(
            f"robot: {robot}\nlink: {{url: '{url}'}}\n"
            f"drivers: {{base: {{type: sim, options: {{signals: {SIGNALS}, signal_rate: 10, seed: 1}}}}}}\n"
        )
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "botyard_edge.cli", "run", str(settings)),
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            yield psutil.Process(started.pid)
        finally:
            started.terminate()
            await started.wait()


async def once(robot: str, port: int, seconds: float) -> Cost:
    """One life of an edge."""
    async with aiomqtt.Client("127.0.0.1", port) as listener:
        await listener.subscribe(topics.up(robot, "state"), qos=0)
        began = time.perf_counter()
        async with edge(robot, f"mqtt://127.0.0.1:{port}") as process:
            async with asyncio.timeout(30):
                await anext(aiter(listener.messages))
            first = time.perf_counter() - began
            await asyncio.sleep(SETTLED)
            before, at = _used(process), time.perf_counter()
            await asyncio.sleep(seconds)
            past = time.perf_counter() - at
            cpu, wakeups, disk = (
                (later - earlier) / past for earlier, later in zip(before, _used(process), strict=True)
            )
            memory = process.memory_full_info()
    return Cost(first, cpu * 100, wakeups, disk, *(part / 2**20 for part in (memory.rss, memory.pss, memory.uss)))


def _used(process: psutil.Process) -> tuple[float, float, float]:
    """CPU seconds, voluntary context switches of all threads, and bytes written, since the process began."""
    times = process.cpu_times()
    switches = 0
    for thread in process.threads():
        status = Path(f"/proc/{process.pid}/task/{thread.id}/status").read_text(encoding="ascii")
        switches += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return times.user + times.system, switches, process.io_counters().write_bytes


async def import_cost() -> tuple[float, float]:
    """Seconds on the wall and of CPU that importing the command takes in a fresh interpreter."""
    started = await asyncio.create_subprocess_exec(sys.executable, "-c", IMPORT, stdout=asyncio.subprocess.PIPE)
    told, _ = await started.communicate()
    wall, used = told.split()
    return float(wall), float(used)


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    imports = [await import_cost() for _ in range(5)]
    async with broker() as running, hub(running.port):
        rounds = [asdict(await once(f"bench-{n}", running.port, options.seconds)) for n in range(options.rounds)]
    result = {key: round(statistics.median(cost[key] for cost in rounds), 3) for key in rounds[0]}
    result["import_s"], result["import_cpu_s"] = (
        round(statistics.median(column), 3) for column in zip(*imports, strict=True)
    )
    print(
        f"{SIGNALS} signals at 10 Hz: CPU {result['cpu_percent']:.2f} % of a core  RSS {result['rss']:.1f} MiB "
        f"(PSS {result['pss']:.1f}, USS {result['uss']:.1f})  {result['wakeups']:.0f} wakeups/s  "
        f"{result['disk'] / 1024:.1f} KiB/s to disk"
    )
    print(
        f"first state on the wire after {result['first_state_s']:.2f} s  "
        f"import {result['import_s'] * 1000:.0f} ms (CPU {result['import_cpu_s'] * 1000:.0f} ms)"
    )
    save("edge", result)


if __name__ == "__main__":
    asyncio.run(main())
