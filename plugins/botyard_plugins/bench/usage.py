"""CPU time and memory of processes, from Linux's /proc (proc(5)). Elsewhere nothing is known."""

import itertools
import os
from pathlib import Path

import msgspec

PROC = Path("/proc")


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """CPU seconds since the start, and MiB: resident, its own share of it, and the most that was ever resident."""

    cpu_s: float
    rss_mib: float
    uss_mib: float
    peak_mib: float


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in PROC.iterdir() if PROC.is_dir() else ():
        if folder.name.isdigit() and (fields := _stat(int(folder.name))):
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def role(pid: int, hub: int) -> str:
    """What a process of a hub's family is: `hub`, `broker`, or a helper by its module's name."""
    if pid == hub:
        return "hub"
    words = _read(PROC / str(pid) / "cmdline").split("\0")
    if any("nats-server" in word for word in words):
        return "broker"
    modules = [module for flag, module in itertools.pairwise(words) if flag == "-m"]
    return modules[0].rpartition(".")[2] if modules else "helper"


def usage(pid: int) -> Usage | None:
    """What a process uses now; None when it is gone or nothing is known."""
    fields = _stat(pid)
    status = _table(_read(PROC / str(pid) / "status"))
    if not fields or "VmRSS" not in status:
        return None
    rollup = _table(_read(PROC / str(pid) / "smaps_rollup"))
    own = rollup.get("Private_Clean", 0) + rollup.get("Private_Dirty", 0)
    return Usage(
        cpu_s=(int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"),
        rss_mib=round(status["VmRSS"] / 1024, 2),
        uss_mib=round(own / 1024, 2),
        peak_mib=round(status.get("VmHWM", 0) / 1024, 2),
    )


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    return _read(PROC / str(pid) / "stat").rpartition(")")[2].split()


def _table(text: str) -> dict[str, int]:
    """Lines like `VmRSS:   1234 kB`."""
    table = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if value.endswith("kB"):
            table[name] = int(value.split()[0])
    return table


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it ended, or belongs to somebody else
        return ""
