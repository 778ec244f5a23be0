"""What more robots cost at the same number of messages: `python -m benchmarks.robots`.

CPU seconds of the hub and its helper processes for each 10,000 messages with few and with many robots, and the hub's
memory for each robot more. The robots share ten connections, since the broker's cost is another matter.
"""

import argparse
import asyncio
from typing import Any

from benchmarks.machine import save
from benchmarks.virtual import median, once
from botyard_plugins.bench.plan import Plan
from botyard_plugins.bench.result import Result

FEW, MANY = 10, 5000
PER_SECOND = 5000  # messages of all robots together, one a second of each of the many: nothing has to wait
STATE_EACH = 50


def plan(robots: int, seconds: float) -> Plan:
    """So many robots, always the same messages a second."""
    rate = PER_SECOND / robots
    return Plan(
        robots=robots,
        rate=rate,
        state_every=min(3600.0, STATE_EACH / rate),
        heartbeat=60.0,
        seconds=seconds,
        connections=min(robots, 10),
    )


def memory(result: Result) -> float:
    """KiB of the hub's and its helpers' own memory."""
    return 1024 * sum(
        cost.uss_mib for name, cost in result.cost.items() if name not in ("broker", "generator", "bench")
    )


async def measure(count: int, seconds: float, most: int = MANY) -> dict[str, Any]:
    """The figures, medians of so many rounds with few and with `most` robots by turns."""
    few, many = [], []
    for _ in range(count):
        few.append(await once(plan(FEW, seconds)))
        many.append(await once(plan(most, seconds)))
    cost = {name: median(results, lambda one: one.hub_cpu, 3) for name, results in (("few", few), ("many", many))}
    grown = [(memory(large) - memory(small)) / (most - FEW) for small, large in zip(few, many, strict=True)]
    assert cost["few"], "the CPU time of processes is known on Linux only"
    assert cost["many"]
    return {
        "rounds": count,
        "few": FEW,
        "many": most,
        "cpu_s_per_10k_few": cost["few"],
        "cpu_s_per_10k_many": cost["many"],
        "cost_ratio": round(cost["many"] / cost["few"], 2),
        "memory_kib_per_robot": round(sorted(grown)[len(grown) // 2], 1),
    }


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--most", type=int, default=MANY)
    options, _ = parser.parse_known_args()
    row = await measure(options.rounds, options.seconds, options.most)
    print("  ".join(f"{name} {value:,}" for name, value in row.items()))
    save("robots", row)


if __name__ == "__main__":
    asyncio.run(main())
