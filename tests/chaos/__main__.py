"""A campaign by hand: `python -m tests.chaos`, or `make chaos`. It prints its seed, and repeats from it."""

import argparse
import contextlib
import itertools
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import psutil

from tests.chaos.campaign import Campaign
from tests.chaos.plan import Setting, make_plan
from tests.chaos.report import lines, summary
from tests.chaos.world import ROBOTS, World
from tests.processes import ARTIFACTS

WIRES = {"mqtt": ("robots",), "websocket": ("websocket",), "both": ("robots", "websocket")}


def main() -> int:
    """Run the campaigns that were asked for, and say what came out; 1 when something is wrong."""
    options = _options()
    # Else it would be gone at once, and its children not.
    signal.signal(signal.SIGTERM, _end)
    try:
        return _campaigns(options)
    finally:
        # Also who was just being started, and so belongs to nobody yet.
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


def _campaigns(options: argparse.Namespace) -> int:
    failed = False
    for setting in _settings(options):
        plan = make_plan(options.seed, options.kills, setting)
        if options.plan:
            for fault in plan:
                print(f"{fault.number:4} after {fault.after:.2f} s: {fault}")
            continue
        print(
            f"seed {options.seed}, {options.kills} kills in {len(plan)} faults, {setting.store}, "
            f"{setting.broker} broker, wires: {', '.join(setting.wires)}",
            flush=True,
        )
        report = run(options.seed, setting, options.kills, Path(options.folder) if options.folder else None)
        failed = failed or bool(report["problems"])
    return int(failed)


def run(seed: int, setting: Setting, kills: int, parent: Path | None) -> dict[str, Any]:
    """One campaign, and its report in `artifacts`. The folder of a campaign that failed is kept."""
    folder = Path(tempfile.mkdtemp(prefix="botyard-chaos-", dir=parent))
    started = time.monotonic()
    with World(setting, folder, seed) as world:
        campaign = Campaign(world, make_plan(seed, kills, setting), lambda line: print(line, flush=True))
        try:
            campaign.run()
            campaign.settle()
            campaign.check()
        except AssertionError as error:
            campaign.result.problems.append(str(error))
        report = summary(seed, setting, world, campaign.result, time.monotonic() - started)
    ARTIFACTS.mkdir(exist_ok=True)
    name = f"chaos-{setting.store}-{setting.broker}-{'+'.join(setting.wires)}-{seed}.json"
    (ARTIFACTS / name).write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    print("\n".join(lines(report)), flush=True)
    if report["problems"]:
        print(f"everything is kept in {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return report


def _end(number: int, frame: object) -> NoReturn:
    """Leave through all `with`, which end what they started. What comes again meanwhile must not cut that short."""
    del frame
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _settings(options: argparse.Namespace) -> list[Setting]:
    stores = ("sqlite", "postgres") if options.store == "both" else (options.store,)
    brokers = ("embedded", "mosquitto") if options.broker == "both" else (options.broker,)
    return [
        Setting(
            robots=tuple(ROBOTS)[: options.robots],
            store=store,
            broker=broker,
            wires=WIRES[options.transports] + (("hub",) if broker == "mosquitto" else ()),
        )
        for store, broker in itertools.product(stores, brokers)
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same seed gives the same faults")
    parser.add_argument("--kills", type=int, default=200, help="processes to kill, in each campaign")
    parser.add_argument("--robots", type=int, choices=range(1, len(ROBOTS) + 1), default=len(ROBOTS))
    parser.add_argument("--store", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--broker", choices=("embedded", "mosquitto", "both"), default="embedded")
    parser.add_argument("--transports", choices=tuple(WIRES), default="both", help="how robots reach the hub")
    parser.add_argument("--folder", help="where the data of a campaign go, which are kept when it fails")
    parser.add_argument("--plan", action="store_true", help="print what would happen, and do nothing")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
