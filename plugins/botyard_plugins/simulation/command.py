"""`botyard sim`: a whole fleet with a hub in virtual time, with faults, from a seed."""

import logging
import tempfile
import time
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
    log: Annotated[Path | None, typer.Option(help="Write what happened into this file, a line of JSON each.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", "--json", help="Write the report into this file, as JSON.")
    ] = None,
) -> None:
    """Simulate a fleet and its hub, faster than real time, and check that nothing is lost."""
    from botyard_plugins.simulation.world import simulate

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
        outcome = simulate(plan, seed, Path(folder), lambda at: progress.update(task, completed=at))
        took = time.perf_counter() - began
        progress.update(task, completed=plan.seconds)
    if log is not None:
        log.write_bytes(b"\n".join([*outcome.log, b""]))
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(outcome.report)) + b"\n")
    _show(outcome.report, took)
    raise typer.Exit(0 if outcome.report.ok else 1)


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
