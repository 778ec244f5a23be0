"""Why batches are as old and as large as they are: `python -m benchmarks.batches`.

For several ages (`ingest.batch_age`): what a message costs the hub at 2,000 a second and how long it takes to be
committed, and the most that the hub takes. For several sizes (`ingest.batch_samples`): the most samples a second, and
the memory for it. The settings reach the hub by its environment.
"""

import argparse
import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.machine import save
from benchmarks.virtual import median, rounds
from botyard_plugins.bench.plan import Plan

AGES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
SAMPLES = (500, 5_000, 50_000, 500_000)
STEADY = Plan(robots=100, rate=20.0, qos=1)
MOST = Plan(robots=20, speed="max", qos=1)
LARGE = Plan(robots=20, speed="max", sets=50)


@contextlib.contextmanager
def setting(name: str, value: float) -> Iterator[None]:
    """A setting of `ingest` for all hubs that are started meanwhile."""
    key = f"BOTYARD__INGEST__{name.upper()}"
    os.environ[key] = f"{value:g}" if isinstance(value, float) else str(value)
    try:
        yield
    finally:
        del os.environ[key]


async def age(value: float, count: int, seconds: float) -> dict[str, Any]:
    """A row for one `batch_age` in seconds."""
    with setting("batch_age", value):
        steady, most = await rounds(_lasting(STEADY, seconds), count), await rounds(_lasting(MOST, seconds), count)
    return {
        "batch_age": value,
        "committed_p50_ms": median(steady, lambda one: found.p50 if (found := one.latency.committed) else None, 1),
        "committed_p99_ms": median(steady, lambda one: found.p99 if (found := one.latency.committed) else None, 1),
        "hub_cpu_s_per_10k": median(steady, lambda one: one.hub_cpu, 2),
        "most_messages_per_s": median(most, lambda one: one.throughput.messages_per_s, 0),
    }


async def samples(value: int, count: int, seconds: float) -> dict[str, Any]:
    """A row for one `batch_samples`."""
    with setting("batch_samples", value):
        large = await rounds(_lasting(LARGE, seconds), count)
    return {
        "batch_samples": value,
        "most_samples_per_s": median(large, lambda one: one.throughput.samples_per_s, 0),
        "hub_peak_mib": median(large, lambda one: one.cost["hub"].peak_mib, 0),
    }


def _lasting(plan: Plan, seconds: float) -> Plan:
    return msgspec.structs.replace(plan, seconds=seconds)


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options, _ = parser.parse_known_args()
    rows = []
    for value in AGES:
        rows.append(await age(value, options.rounds, options.seconds))
        print("  ".join(f"{name} {found:,}" for name, found in rows[-1].items()), flush=True)
    for size in SAMPLES:
        rows.append(await samples(size, options.rounds, options.seconds))
        print("  ".join(f"{name} {found:,}" for name, found in rows[-1].items()), flush=True)
    save("batches", rows)


if __name__ == "__main__":
    asyncio.run(main())
