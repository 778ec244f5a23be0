"""What a benchmark found; written as JSON by `botyard bench --json`."""

import os
import platform
from typing import Any

import msgspec

from botyard_plugins.bench.statistics import Percentiles
from botyard_plugins.bench.usage import Usage, usage


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What was acknowledged, and so committed, in `seconds` of measuring; samples over all channels."""

    seconds: float
    messages: int
    samples: int
    messages_per_s: float
    samples_per_s: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What a process used: a share of one core in percent, CPU seconds for each 10,000 messages, and MiB."""

    cpu_percent: float
    cpu_s_per_10k: float
    rss_mib: float
    uss_mib: float
    peak_mib: float


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """In milliseconds: from a message's time stamp to its acknowledgement at the robot, which follows the commit; to
    its arrival at a WebSocket client; and how late the generator itself was with making messages."""

    committed: Percentiles | None
    browser: Percentiles | None
    generator_late: Percentiles | None


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """How long robots had been away, and how long it took until everything from then was committed, beside live data.
    `browser` is the way of live messages to a WebSocket client meanwhile, in milliseconds."""

    seconds: float
    messages: int
    drained_s: float
    times_real_time: float
    browser: Percentiles | None


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """What the store takes, everything included. `source` is `api` (`GET /api/v1/store`) or `files`; `compacted`
    whether nothing waited for compaction any more, None when nobody says."""

    bytes: int
    samples: int
    bytes_per_sample: float
    source: str
    compacted: bool | None


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """Whether everything arrived once. `wrong` names up to ten of the series that have another number of samples."""

    messages: int
    unacknowledged: int
    series: int
    samples: int
    samples_stored: int
    wrong: list[str]

    @property
    def ok(self) -> bool:
        """Nothing missing, nothing twice."""
        return not self.unacknowledged and not self.wrong and self.samples == self.samples_stored


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What it was measured on; `load` is the average of the minute before."""

    cpus: int
    memory_gib: float
    system: str
    python: str
    load: float


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `cost` by process: `hub`, its helpers by name, `broker`, `generator`, and `bench` (this command)."""

    version: str
    at: str
    machine: Machine
    plan: dict[str, Any]
    store: str
    throughput: Throughput
    cost: dict[str, Cost]
    latency: Latency
    outage: Outage | None
    disk: Disk | None
    verified: Verified
    resent: int
    reconnects: int
    skipped: int

    @property
    def hub_cpu(self) -> float | None:
        """CPU seconds for each 10,000 messages of the hub and its helpers, without broker and generator."""
        costs = [cost.cpu_s_per_10k for name, cost in self.cost.items() if name not in ("broker", "generator", "bench")]
        return round(sum(costs), 3) if costs else None


Snapshot = dict[str, list[Usage]]


def snapshot(processes: dict[str, list[int]]) -> Snapshot:
    """What all processes use now, by role."""
    found = {name: [used for pid in pids if (used := usage(pid))] for name, pids in processes.items()}
    return {name: used for name, used in found.items() if used}


def costs(before: Snapshot, after: Snapshot, seconds: float, messages: int) -> dict[str, Cost]:
    """What was used between two snapshots. A process that was started again in between counts from zero."""
    found = {}
    for name, used in after.items():
        earlier = sum(one.cpu_s for one in before.get(name, []))
        cpu = max(0.0, sum(one.cpu_s for one in used) - earlier)
        found[name] = Cost(
            cpu_percent=round(100 * cpu / seconds, 1),
            cpu_s_per_10k=round(cpu / messages * 10_000, 3) if messages else 0.0,
            rss_mib=round(sum(one.rss_mib for one in used), 1),
            uss_mib=round(sum(one.uss_mib for one in used), 1),
            peak_mib=round(sum(one.peak_mib for one in used), 1),
        )
    return found


def machine() -> Machine:
    """This one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory_gib=round(memory, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
    )
