"""What a campaign has to say at its end: for people, and as JSON."""

import statistics
from collections import Counter
from typing import Any

from tests.chaos.campaign import Result
from tests.chaos.plan import Setting
from tests.chaos.world import World


def summary(seed: int, setting: Setting, world: World, result: Result, took: float) -> dict[str, Any]:
    """Everything as plain data; times in seconds."""
    counts: Counter[str] = sum((verdict.counts for verdict in result.verdicts.values()), Counter())
    lost: Counter[str] = sum((verdict.lost for verdict in result.verdicts.values()), Counter())
    recovery = {kind: _percentiles(times) for kind, times in sorted(result.recovery.items())}
    return {
        "seed": seed,
        "store": setting.store,
        "broker": setting.broker,
        "robots": list(setting.robots),
        "wires": list(setting.wires),
        "took": round(took, 1),
        "kills": result.kills,
        "faults": dict(sorted(result.faults.items())),
        "in_vain": result.in_vain,
        "found": dict(counts),
        "lost_by_policy": dict(lost),
        "traffic": dict(result.traffic),
        "recovery": recovery,
        "not_recovered_in_time": result.slow,
        "ended_by_itself": world.ended,
        "problems": result.problems,
    }


def _percentiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    return {"n": len(ordered), "p50": round(statistics.median(ordered), 2), "p99": round(p99, 2)}


def lines(report: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    found, problems = report["found"], report["problems"]
    told = [
        f"{report['store']}, {report['broker']} broker, wires: {', '.join(report['wires'])}",
        f"{report['kills']} kills in {report['took']:.0f} s, seed {report['seed']}",
        "faults: " + ", ".join(f"{kind} {count}" for kind, count in report["faults"].items()),
        "network: " + ", ".join(f"{what} {count}" for what, count in report["traffic"].items()),
        "time to recover in s (p50 / p99 of n): "
        + ", ".join(f"{kind} {r['p50']:g} / {r['p99']:g} of {r['n']}" for kind, r in report["recovery"].items()),
        ", ".join(f"{what} {count}" for what, count in found.items()),
        "given up by policy, and named: "
        + (", ".join(f"{count} ({reason})" for reason, count in report["lost_by_policy"].items()) or "nothing"),
    ]
    told += [f"ended by itself: {ended}" for ended in report["ended_by_itself"]]
    told += [f"slow: {slow}" for slow in report["not_recovered_in_time"]]
    told += [f"✗ {problem}" for problem in problems]
    if not problems:
        told.append("✓ nothing missing, nothing twice")
    return told
