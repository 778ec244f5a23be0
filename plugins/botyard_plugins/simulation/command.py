"""`botyard sim`: a whole fleet with a hub in virtual time, with faults, from a seed."""

import asyncio
import contextlib
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from botyard.cli.asking import TokenOption
from botyard.cli.console import complain, err, out
from botyard_schemas.settings import SettingsError

if TYPE_CHECKING:
    from botyard_plugins.simulation.away import Address
    from botyard_plugins.simulation.report import Report
    from botyard_plugins.simulation.scenario import Scenario

SHOWN = 10  # violations of an invariant


def sim(
    scenario: Annotated[Path | None, typer.Option(help="What goes wrong, as YAML; left out, nothing does.")] = None,
    robots: Annotated[int | None, typer.Option(min=1, max=10_000, help="How many, instead of the scenario's.")] = None,
    seconds: Annotated[float | None, typer.Option(min=1, help="How long, instead of the scenario's.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same run, byte for byte.")] = 1,
    hub: Annotated[
        list[str] | None,
        typer.Option(
            "--hub",
            "--url",
            help="Connect the robots to this hub, in real time: mqtt://…, ws://… or http://…; given several times, "
            "robots take them in turn.",
        ),
    ] = None,
    api: Annotated[
        str | None,
        typer.Option(
            "--api",
            envvar="BOTYARD_URL",
            help="Address of that hub's API; by default that of a --hub with ws:// or http://, else port 8080 there.",
        ),
    ] = None,
    token: TokenOption = None,
    prefix: Annotated[str, typer.Option(help="What the names of robots at a --hub begin with.")] = "robot-",
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
    address = _address_or_exit(hub, api, token, prefix) if hub else None
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} s"),
    )
    with (
        _quiet(),
        tempfile.TemporaryDirectory(prefix="botyard-sim-") as folder,
        Progress(*columns, console=err) as progress,
    ):
        task = progress.add_task(f"{plan.robots:,} robots", total=plan.seconds)
        began = time.perf_counter()
        if address is not None:
            found = _run_away(plan, seed, Path(folder), address, progress, task)
        else:

            def told(at: float) -> None:
                progress.update(task, completed=at)
                if pace is not None:  # nothing else waits in virtual time
                    time.sleep(max(0.0, at / pace - (time.perf_counter() - began)))

            found = _run(plan, seed, Path(folder), log, told)
        took = time.perf_counter() - began
        progress.update(task, completed=found.seconds)
    if report is not None:
        report.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    _show(found, took)
    raise typer.Exit(0 if found.ok else 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Log nothing: faults are what it is about."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        root.setLevel(before)


def _run(plan: "Scenario", seed: int, folder: Path, log: Path | None, told: Callable[[float], None]) -> "Report":
    from botyard_plugins.simulation.world import simulate

    outcome = simulate(plan, seed, folder, told)
    if log is not None:
        log.write_bytes(b"\n".join([*outcome.log, b""]))
    return outcome.report


def _run_away(
    plan: "Scenario", seed: int, folder: Path, address: "Address", progress: Progress, task: TaskID
) -> "Report":
    from botyard_edge.plugins import PluginError
    from botyard_plugins.simulation import away
    from botyard_plugins.simulation.door import HubError

    def told(far: "away.Progress") -> None:
        there = f"{far.connected:,} of {plan.robots:,} robots connected"
        progress.update(task, completed=far.seconds, description=there)

    async def main() -> "Report":
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def end(number: signal.Signals) -> None:
            err.print("Stopping; once more ends it at once.")
            stop.set()
            loop.remove_signal_handler(number)

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end, number)
        return await away.run(plan, seed, address, folder, told=told, stop=stop)

    try:
        return asyncio.run(main())
    except (HubError, PluginError) as error:
        progress.stop()
        complain(str(error))
        raise typer.Exit(1) from error


def _address_or_exit(hub: list[str], api: str | None, token: str | None, prefix: str) -> "Address":
    from botyard_plugins.simulation.away import Address
    from botyard_plugins.simulation.door import HubError, ways_of
    from botyard_schemas import topics

    try:
        ways, found = ways_of(hub, api)
    except HubError as error:
        complain(str(error))
        raise typer.Exit(2) from error
    if not topics.ROBOT_ID.fullmatch(f"{prefix}10000"):
        complain(f"--prefix: {prefix!r} begins no robot ids, expected at most 59 of A-Z, a-z, 0-9, _ and -")
        raise typer.Exit(2)
    return Address(ways, found, token, prefix)


def _pace_or_exit(speed: str, hub: list[str] | None, log: Path | None) -> float | None:
    """How many times faster than real time it may be; None: as fast as it can be, or real time itself."""
    try:
        pace = None if speed == "max" else float(speed)
    except ValueError:
        pace = -1.0
    if pace is not None and not 0.0 < pace < float("inf"):
        complain(f"--speed: {speed!r} is no speed, expected a number above 0, or max")
        raise typer.Exit(2)
    if hub and (pace not in (None, 1.0) or log is not None):
        complain("--hub: at a real hub time is real, so it goes with --speed 1 only, and there is no --log to repeat")
        raise typer.Exit(2)
    return None if hub else pace


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
    if (held := report.pace) is not None:
        grown = "" if held.memory is None else f", {held.memory:.2f} MiB for each robot"
        out.print(
            f"real time was held within {held.late_99 * 1e3:,.0f} ms in 99 of 100 looks, {held.late_max * 1e3:,.0f} ms "
            f"at most, with {held.cpu:,.1f} s of CPU{grown}"
        )
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
