"""What simulated fleets cost: `python -m benchmarks.sim`.

In virtual time, hub and checks included: how many times faster than real time 200 robots with sensors at 10 Hz are on
one core, from CPU seconds, and memory for each robot. In real time: whether 1,000 robots at 1 Hz keep up, as the CPU
seconds that they take for each second of theirs.
"""

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
from typing import Any

from benchmarks.machine import save

MEASURED = """
import json, logging, resource, sys, tempfile, time
from pathlib import Path
from botyard_plugins.simulation.scenario import Scenario
from botyard_plugins.simulation.world import simulate
logging.getLogger().setLevel(logging.CRITICAL)
scenario = Scenario(**json.loads(sys.argv[1]))
with tempfile.TemporaryDirectory() as folder:
    began = time.process_time()
    report = simulate(scenario, 1, Path(folder)).report
    used = time.process_time() - began
assert report.ok, report
print(json.dumps({"cpu_s": used, "rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                  "samples": report.samples, "messages": report.messages}))
"""


def once(robots: int, seconds: float, **options: Any) -> dict[str, float]:
    """One simulation in a process of its own. Raises CalledProcessError when an invariant did not hold."""
    scenario = {"robots": robots, "seconds": seconds, "options": options}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, json.dumps(scenario)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            cwd=folder,
        )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(robots: int, seconds: float, rounds: int) -> dict[str, float]:
    """Medians of so many rounds."""
    whole = [once(robots, seconds) for _ in range(rounds)]
    short = [once(robots, 10.0) for _ in range(rounds)]
    one = once(1, 10.0)
    cpu, start = (statistics.median(found["cpu_s"] for found in some) for some in (whole, short))
    # What a robot takes of memory grows with what has been sent: the ledger of the checks remembers all of it.
    memory = statistics.median(found["rss_kib"] for found in whole) - one["rss_kib"]
    return {
        "robots": robots,
        "seconds": seconds,
        "times_real_time": round(seconds / cpu, 1),
        "cpu_ms_per_robot_second": round(cpu * 1000 / robots / seconds, 3),
        "without_the_start": round((cpu - start) * 1000 / robots / (seconds - 10.0), 3),
        "mib_per_robot": round(memory / 1024 / robots, 3),
        "samples": whole[0]["samples"],
    }


async def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=300.0)
    options, _ = parser.parse_known_args()
    row = await asyncio.to_thread(measure, 200, options.seconds, options.rounds)
    # In real time it has to keep up only: each block of five seconds is computed at once, as here.
    many = await asyncio.to_thread(measure, 1000, 30.0, 1)
    row["core_share_of_1000_robots"] = round(many["cpu_ms_per_robot_second"], 3)
    row["mib_per_robot_of_1000"] = many["mib_per_robot"]
    print("  ".join(f"{name} {value:,}" for name, value in row.items()))
    save("sim", row)


if __name__ == "__main__":
    asyncio.run(main())
