"""How fast a fleet catches up after an outage, and what live data feel of it: `python -m benchmarks.outage`.

200 robots with 10 messages a second were away for ten minutes. Bytes per sample are those of this data, too.
"""

import argparse
import asyncio
from typing import Any

from benchmarks.machine import save
from benchmarks.virtual import median, rounds
from botyard_plugins.bench.plan import Plan


async def measure(count: int, store: str, robots: int = 200, outage: float = 600.0) -> dict[str, Any]:
    """The figures, medians of so many rounds on a `store`, `sqlite` or `postgresql`."""
    results = await rounds(Plan(robots=robots, rate=10.0, outage=outage, seconds=5.0), count, store)
    live = [one.outage.browser for one in results if one.outage and one.outage.browser]
    return {
        "store": store,
        "rounds": count,
        "robots": robots,
        "outage_s": outage,
        "times_real_time": median(results, lambda one: one.outage.times_real_time if one.outage else None),
        "live_p50_ms": sorted(found.p50 for found in live)[len(live) // 2],
        "live_p99_ms": sorted(found.p99 for found in live)[len(live) // 2],
        "bytes_per_sample": median(results, lambda one: one.disk.bytes_per_sample if one.disk else None),
        "compacted": all(one.disk and one.disk.compacted for one in results),
    }


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--robots", type=int, default=200)
    parser.add_argument("--outage", type=float, default=600.0)
    options, _ = parser.parse_known_args()
    rows = [await measure(options.rounds, store, options.robots, options.outage) for store in ("sqlite", "postgresql")]
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    save("outage", rows)


if __name__ == "__main__":
    asyncio.run(main())
