"""From publish to committed and to a WebSocket client, at half of the most that the hub takes:
`python -m benchmarks.latency`.

The most is measured first, in the same round. Beside the hub stands the way through the broker alone, to a bare
subscriber in this process, with the same messages at the same time.
"""

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from typing import Any

import aiomqtt
import msgspec

from benchmarks.machine import broker, save
from benchmarks.virtual import rounds
from botyard_plugins.bench.plan import Plan
from botyard_plugins.bench.statistics import Durations, percentiles
from botyard_schemas import topics

ROBOTS = 40


class _Stamp(msgspec.Struct):
    ts: int


@contextlib.asynccontextmanager
async def bare(port: int) -> AsyncIterator[Durations]:
    """A subscriber to one robot, which only looks at time stamps."""
    took, ready = Durations(), asyncio.Event()
    decode = msgspec.json.Decoder(_Stamp).decode

    async def count() -> None:
        async with aiomqtt.Client(
            "127.0.0.1", port, identifier="bare", protocol=aiomqtt.ProtocolVersion.V311
        ) as client:
            await client.subscribe(topics.up(Plan().robot(0), "telemetry"))
            ready.set()
            async for received in client.messages:
                assert isinstance(received.payload, bytes)
                took.add([time.time_ns() // 1000 - decode(received.payload).ts])

    counting = asyncio.create_task(count(), name="benchmarks.bare")
    await ready.wait()
    try:
        yield took
    finally:
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


async def once(store: str, seconds: float) -> dict[str, Any]:
    """One round: the most, then half of it."""
    (most,) = await rounds(Plan(robots=ROBOTS, speed="max", seconds=seconds), 1, store)
    assert most.throughput.messages, "nothing was committed while it was measured: measure for longer (--seconds)"
    rate = most.throughput.messages_per_s / 2 / ROBOTS
    async with broker() as running, bare(running.port) as took:
        url = f"mqtt://127.0.0.1:{running.port}"
        (half,) = await rounds(Plan(robots=ROBOTS, rate=rate, seconds=seconds, broker=url), 1, store)
    bare_took = percentiles(took.thinned())
    assert half.latency.committed, "nothing was acknowledged"
    assert half.latency.browser, "nothing came over the WebSocket"
    assert bare_took, "nothing came to the bare subscriber"
    return {
        "messages_per_s": half.throughput.messages_per_s,
        "committed_p50_ms": half.latency.committed.p50,
        "committed_p99_ms": half.latency.committed.p99,
        "browser_p50_ms": half.latency.browser.p50,
        "browser_p99_ms": half.latency.browser.p99,
        "bare_p50_ms": bare_took.p50,
        "bare_p99_ms": bare_took.p99,
        "generator_late_p99_ms": half.latency.generator_late.p99 if half.latency.generator_late else 0.0,
    }


async def measure(count: int, store: str, seconds: float) -> dict[str, Any]:
    """Medians of so many rounds on a `store`, `sqlite` or `postgresql`."""
    found = [await once(store, seconds) for _ in range(count)]
    middle = {name: round(statistics.median(one[name] for one in found), 1) for name in found[0]}
    return {"store": store, "rounds": count, **middle}


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    options, _ = parser.parse_known_args()
    rows = [await measure(options.rounds, store, options.seconds) for store in ("sqlite", "postgresql")]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    save("latency", rows)


if __name__ == "__main__":
    asyncio.run(main())
