"""How fast a hub is ready, and what it costs while nothing happens: `python -m benchmarks.idle`.

The hub runs with its embedded broker and SQLite. Ready means that `/readyz` says so; CPU is that of the hub, its
store's helper processes and the broker, as a share of one core.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time

import httpx
import psutil

from benchmarks.machine import free_port, save, until_ready


async def once(seconds: float) -> tuple[float, float, float]:
    """Seconds until ready, share of one core in percent while idle, and memory in MiB."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "BOTYARD__DATA_DIR": folder,
            "BOTYARD__WEB__PORT": str(port),
            "BOTYARD__BROKER__PORT": "0",
            "BOTYARD__LOG_LEVEL": "error",
        }
        started = time.perf_counter()
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "botyard.cli.entry", "hub", env=environment, cwd=folder
        )
        try:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                await until_ready(client)
            ready = time.perf_counter() - started
            await asyncio.sleep(1)
            before = _cpu(running.pid)
            await asyncio.sleep(seconds)
            return ready, (_cpu(running.pid) - before) / seconds * 100, _memory(running.pid)
        finally:
            running.terminate()
            await running.wait()


def _all(pid: int) -> list[psutil.Process]:
    hub = psutil.Process(pid)
    return [hub, *hub.children(recursive=True)]


def _cpu(pid: int) -> float:
    return sum(times.user + times.system for times in (one.cpu_times() for one in _all(pid)))


def _memory(pid: int) -> float:
    return float(sum(one.memory_info().rss for one in _all(pid))) / 2**20


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    rounds = [await once(options.seconds) for _ in range(options.rounds)]
    ready, cpu, memory = (round(statistics.median(column), 2) for column in zip(*rounds, strict=True))
    print(f"ready after {ready} s  idle CPU {cpu} % of a core  memory {memory} MiB (all processes)")
    save("idle", {"ready_s": ready, "idle_cpu_percent": cpu, "memory_mib": memory})


if __name__ == "__main__":
    asyncio.run(main())
