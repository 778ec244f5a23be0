"""`botyard sim`: a whole fleet with a hub in virtual time, with faults, from a seed."""

import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from botyard.cli.console import complain, err, out
from botyard_schemas.settings import SettingsError

if TYPE_CHECKING:
    from botyard_plugins.simulation.report import Report
    from botyard_plugins.simulation.scenario import Scenario

SHOWN = 10  # violations of an invariant


def sim(
    scenario: Annotated[Path | None, typer.Option(help="What goes wrong, as YAML; left out, nothing does.")] = None,
    robots: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many, instead of the scenario's.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="How long, instead of the scenario's.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run, byte for byte.")] = 1,
    hub: Annotated[
        str | None,
        typer.Option("--hub", "--url", help="Connect the robots to this hub, in real time: mqtt://…, ws://…"),
    ] = None,
    speed: Annotated[
        str, typer.Option(help="How many times faster than real time at most, or max; at a --hub it is always 1.")
    ] = "max",
    log: Annotated[Path | None, typer.Option(help="Write what happened into this file, a line of JSON each.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", "--json", help="Write the report into this file, as JSON.")
    ] = None,
) -> None:
    """Simulate a fleet and its hub, faster than real time, and check that nothing is lost."""
    pace = _pace_or_exit(speed, hub, log)
    plan = _scenario_or_exit(scenario, robots, seconds)
    logging.getLogger().setLevel(logging.CRITICAL)  # faults are what it is about
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} s"),
    )
    with tempfile.TemporaryDirectory(prefix="botyard-sim-") as folder, Progress(*columns, console=err) as progress:
        task = progress.add_task(f"{plan.robots:,} robots", total=plan.seconds)
        began = time.perf_counter()

        def told(at: float) -> None:
            progress.update(task, completed=at)
            if pace is not None:  # nothing else waits in virtual time
                time.sleep(max(0.0, at / pace - (time.perf_counter() - began)))

        found = _run(plan, seed, Path(folder), hub, log, told)
        took = time.perf_counter() - began
        progress.update(task, completed=plan.seconds)
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    _show(found, took)
    raise typer.Exit(0 if found.ok else 1)


def _run(
    plan: "Scenario", seed: int, folder: Path, hub: str | None, log: Path | None, told: Callable[[float], None]
) -> "Report":
    if hub is not None:
        from botyard_plugins.simulation import away

        return asyncio.run(away.run(plan, seed, hub, folder, told))
    from botyard_plugins.simulation.world import simulate

    outcome = simulate(plan, seed, folder, told)
    if log is not None:
        log.write_bytes(b"\n".join([*outcome.log, b""]))
    return outcome.report


def _pace_or_exit(speed: str, hub: str | None, log: Path | None) -> float | None:
    """How many times faster than real time it may be; None: as fast as it can be, or real time itself."""
    try:
        pace = None if speed == "max" else float(speed)
    except ValueError:
        pace = -1.0
    if pace is not None and not 0.0 < pace < float("inf"):
        complain(f"--speed: {speed!r} is no speed, expected a number above 0, or max")
        raise typer.Exit(2)
    if hub is not None and (pace not in (None, 1.0) or log is not None):
        complain("--hub: at a real hub time is real, so it goes with --speed 1 only, and there is no --log to repeat")
        raise typer.Exit(2)
    return None if hub is not None else pace


def _scenario_or_exit(path: Path | None, robots: int | None, seconds: float | None) -> "Scenario":
    from botyard_plugins.simulation.scenario import Scenario, load

    changes: dict[str, Any] = {
        name: value for name, value in (("robots", robots), ("seconds", seconds)) if value is not None
    }
    try:
        return Scenario(**changes) if path is None else load(path, **changes)
    except SettingsError as error:
        complain(str(error))
        raise typer.Exit(2) from error


def _show(report: "Report", took: float) -> None:
    pace = f"{report.seconds / took:,.1f} times real time"
    out.print(f"{report.robots:,} robots for {report.seconds:,.0f} s in {took:,.1f} s ({pace}), seed {report.seed}")
    out.print(f"{report.messages:,} messages, {report.copies:,} of them sent again, {report.samples:,} samples")
    out.print(f"{report.driven:,.0f} m driven")
    for title, found in (("Fault", report.faults), ("Command", report.commands), ("Event", report.events)):
        if found:
            table = Table(title, "Times", box=None)
            for name, count in found.items():
                table.add_row(name, f"{count:,}")
            out.print(table)
    for invariant in report.invariants:
        out.print(f"[green]✓[/] {invariant.name}" if invariant.holds else f"[red]✗ {invariant.name}[/]")
        for sentence in invariant.violations[:SHOWN]:
            out.print(f"    {sentence}", highlight=False)
        if len(invariant.violations) > SHOWN:
            out.print(f"    and {len(invariant.violations) - SHOWN:,} more")
