"""The most that a hub commits, on SQLite and on PostgreSQL by turns: `python -m benchmarks.stores`.

As fast as acknowledgements allow: one sample set a message at QoS 0 and 1, and fifty. The PostgreSQL is a real one on
this machine, so that it shares the cores.
"""

import argparse
import asyncio
from typing import Any

import msgspec

from benchmarks.machine import save
from benchmarks.virtual import median, once, postgres
from botyard_plugins.bench.plan import Plan
from botyard_plugins.bench.result import Result

STORES = ("sqlite", "postgresql")
SHAPES = ((0, 1), (1, 1), (0, 50))


async def measure(count: int, seconds: float, qos: int, sets: int) -> list[dict[str, Any]]:
    """A row for each store; the stores take turns, so that both see the same machine."""
    plan = Plan(robots=20, speed="max", qos=qos, sets=sets, seconds=seconds)
    results: dict[str, list[Result]] = {store: [] for store in STORES}
    async with postgres() as database:
        for _ in range(count):
            results["sqlite"].append(await once(plan))
            url = await asyncio.to_thread(database)
            results["postgresql"].append(await once(msgspec.structs.replace(plan, store=url)))
    rows = [
        {
            "store": store,
            "rounds": count,
            "qos": qos,
            "sample_sets_per_message": sets,
            "messages_per_s": median(found, lambda one: one.throughput.messages_per_s, 0),
            "samples_per_s": median(found, lambda one: one.throughput.samples_per_s, 0),
            "hub_cpu_s_per_10k": median(found, lambda one: one.hub_cpu, 3),
        }
        for store, found in results.items()
    ]
    for row in rows:
        row["of_sqlite"] = round(float(row["messages_per_s"] or 0) / float(rows[0]["messages_per_s"] or 1), 2)
    return rows


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    options, _ = parser.parse_known_args()
    rows = []
    for qos, sets in SHAPES:
        rows += await measure(options.rounds, options.seconds, qos, sets)
        for row in rows[-len(STORES) :]:
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    save("stores", rows)


if __name__ == "__main__":
    asyncio.run(main())
