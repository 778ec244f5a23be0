"""All figures of docs/capacity.md, and the page's table: `python -m benchmarks.capacity`.

Each part is saved in artifacts/bench/capacity.json as soon as it is measured; `--only` measures some parts again, and
`--only` with nothing only writes the table. On a quiet machine of two cores all of it takes an hour and a half.
"""

import argparse
import asyncio
import datetime as dt
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import latency, outage, robots, stores
from benchmarks.machine import save
from botyard_plugins.bench.result import machine
from botyard_schemas import __version__
from tools.gen.markdown import table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/capacity.md"
SAVED = Path("artifacts/bench/capacity.json")
BEGIN = "<!-- written by `python -m benchmarks.capacity`: begin -->"
END = "<!-- written: end -->"
STORES = ("sqlite", "postgresql")

Rows = list[dict[str, Any]]


async def _stores(options: argparse.Namespace) -> Rows:
    return [row for shape in stores.SHAPES for row in await stores.measure(options.rounds, options.seconds, *shape)]


async def _latency(options: argparse.Namespace) -> Rows:
    return [await latency.measure(options.rounds, store, options.seconds) for store in STORES]


async def _outage(options: argparse.Namespace) -> Rows:
    return [await outage.measure(options.rounds, store, outage=options.outage) for store in STORES]


async def _robots(options: argparse.Namespace) -> Rows:
    return [await robots.measure(options.rounds, options.seconds, options.most)]


PARTS: dict[str, Callable[[argparse.Namespace], Awaitable[Rows]]] = {
    "stores": _stores,
    "latency": _latency,
    "robots": _robots,
    "outage": _outage,
}


def render(saved: dict[str, Any]) -> str:
    """The table between the page's markers. Parts that were not measured are left out."""
    rows = [*_stores_rows(saved), *_latency_rows(saved), *_outage_rows(saved), *_robots_rows(saved)]
    about = [f"* {name}: {_about(saved[name])}" for name in PARTS if name in saved]
    return "\n".join([table(("Figure", "SQLite", "PostgreSQL"), rows), "", "Measured on:", "", *about])


def _about(part: dict[str, Any]) -> str:
    found = part["machine"]
    busy = "" if found["load"] < 0.5 else "; **the machine was busy with other work, so it can do better than this**"
    rounds = part["rows"][0]["rounds"]
    return (
        f"{part['at']}, version {part['version']}, {found['cpus']} cores, {found['memory_gib']:g} GiB, Python "
        f"{found['python']}, {'one round' if rounds == 1 else f'medians of {rounds} rounds'}, load average before "
        f"{found['load']:g}{busy}"
    )


def _by_store(saved: dict[str, Any], part: str) -> list[Rows]:
    rows: Rows = saved.get(part, {}).get("rows", [])
    return [[row for row in rows if row["store"] == store] for store in STORES]


def _stores_rows(saved: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for sqlite, postgres in zip(*_by_store(saved, "stores"), strict=True):
        sets = sqlite["sample_sets_per_message"]
        shape = f"QoS {sqlite['qos']}, {'one sample set' if sets == 1 else f'{sets} sample sets'} a message"
        for name, unit in (("messages_per_s", "messages/s"), ("samples_per_s", "samples/s")):
            found.append((f"Most {unit} ({shape})", f"{sqlite[name]:,.0f}", f"{postgres[name]:,.0f}"))
        cost = "hub_cpu_s_per_10k"
        found.append((f"Hub's CPU s for 10,000 of them ({shape})", f"{sqlite[cost]:g}", f"{postgres[cost]:g}"))
    return found


def _latency_rows(saved: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for sqlite, postgres in zip(*_by_store(saved, "latency"), strict=True):
        rate = "messages_per_s"
        found.append(("Half of the most, messages/s", f"{sqlite[rate]:,.0f}", f"{postgres[rate]:,.0f}"))
        for name, title in (
            ("committed", "Publish to committed"),
            ("browser", "Publish to WebSocket client"),
            ("bare", "Publish to a bare subscriber, without a hub"),
        ):
            pair = [f"{row[f'{name}_p50_ms']:g} / {row[f'{name}_p99_ms']:g}" for row in (sqlite, postgres)]
            found.append((f"{title} at that rate, p50 / p99 in ms", pair[0], pair[1]))
    return found


def _outage_rows(saved: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for sqlite, postgres in zip(*_by_store(saved, "outage"), strict=True):
        shape = f"{sqlite['robots']} robots, 10 messages/s each, {sqlite['outage_s'] / 60:g} minutes"
        pair = [f"{row['times_real_time']:g} times" for row in (sqlite, postgres)]
        found.append((f"Outage caught up, times real time ({shape})", pair[0], pair[1]))
        pair = [f"{row['live_p50_ms']:g} / {row['live_p99_ms']:g}" for row in (sqlite, postgres)]
        found.append(("Publish to WebSocket client meanwhile, p50 / p99 in ms", pair[0], pair[1]))
        pair = [
            "not told" if row["bytes_per_sample"] is None else
            f"{row['bytes_per_sample']:g}{'' if row['compacted'] else ' (not compacted)'}"
            for row in (sqlite, postgres)
        ]  # fmt: skip
        found.append(("Bytes a sample on disk", pair[0], pair[1]))
    return found


def _robots_rows(saved: dict[str, Any]) -> list[tuple[str, str, str]]:
    found = []
    for row in saved.get("robots", {}).get("rows", []):
        for name in ("few", "many"):
            cost = row[f"cpu_s_per_10k_{name}"]
            found.append((f"Hub's CPU s for 10,000 messages of {row[name]:,} robots", f"{cost:g}", ""))
        found.append(("Ratio of the two", f"{row['cost_ratio']:g}", ""))
        found.append(("Hub's memory for each robot more, KiB", f"{row['memory_kib_per_robot']:g}", ""))
    return found


def write(saved: dict[str, Any]) -> None:
    """Renew the page's table."""
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{render(saved)}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


def _saved() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(SAVED.read_text(encoding="utf-8")) if SAVED.exists() else {}
    return found


async def main() -> None:
    """Measure, save, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--outage", type=float, default=600.0)
    parser.add_argument("--most", type=int, default=robots.MANY, help="robots")
    parser.add_argument("--only", nargs="*", choices=tuple(PARTS), default=tuple(PARTS))
    options = parser.parse_args()
    saved = _saved()
    for name in options.only:
        about = msgspec.to_builtins(machine())
        print(f"{name} …", flush=True)
        rows = await PARTS[name](options)
        at = dt.datetime.now(dt.UTC).date().isoformat()
        saved[name] = {"at": at, "version": __version__, "machine": about, "rows": rows}
        save("capacity", saved)
        print(*rows, sep="\n", flush=True)
    write(saved)
    print(f"✓ {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    asyncio.run(main())
