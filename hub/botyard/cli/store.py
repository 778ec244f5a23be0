"""`botyard store …`: the hub's database."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from botyard.cli import store_info
from botyard.cli.console import complain, err, harmless, out
from botyard.cli.options import ConfigOption, load_or_exit
from botyard.core.config import Config, StoreConfig
from botyard.store.base import StoreError
from botyard.store.factory import shown

if TYPE_CHECKING:
    from botyard.store.migrate import Migration, Planned, Verdict

app = typer.Typer(help="The hub's database.", no_args_is_help=True)

DIFFERENT = 3  # exit code: the copy is not what it should be
INTERRUPTED = 130  # as shells say it of Ctrl+C


@app.callback()
def store() -> None:
    """The hub's database."""


app.command()(store_info.info)
app.command()(store_info.compact)


@app.command()
def migrate(
    to: Annotated[str, typer.Option("--to", help="URL of the empty database, as it will stand in store.url.")],
    source: Annotated[
        str | None, typer.Option("--from", help="URL of the database that moves; else store.url of the configuration.")
    ] = None,
    config: ConfigOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be moved, and change nothing.")] = False,
) -> None:
    """Move everything to another database, while no hub runs. Can be interrupted, and goes on where it was.

    The database that moves is only read. Exit code 0: moved and verified; 1: it cannot be done now; 2: wrong options;
    3: the verification has found a difference; 130: interrupted.
    """
    settings = load_or_exit(config)
    from botyard.store.migrate import Migration  # slow: it brings the models along

    try:
        migration = Migration(_url(settings, source), _url(settings, to))
    except ValueError as error:
        complain(str(error))
        raise typer.Exit(2) from error
    try:
        moved = asyncio.run(_look(migration) if dry_run else _migrate(migration))
    except StoreError as error:
        complain(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        complain("interrupted; what is moved stays moved: give the same command again to go on")
        raise typer.Exit(INTERRUPTED) from error
    if not moved:
        complain(
            "the copy differs, so no hub will open it, and the database that moves is as it was: give the migration "
            "an empty database to begin anew"
        )
        raise typer.Exit(DIFFERENT)
    if not dry_run:
        _say_done(to)


def _url(settings: Config, url: str | None) -> str:
    """The database's URL, relative files as in the configuration: in the data folder."""
    return (
        settings.store_url if url is None else msgspec.structs.replace(settings, store=StoreConfig(url=url)).store_url
    )


async def _look(migration: "Migration") -> bool:
    async with migration:
        plan = await migration.look()
    listing = Table(box=None, header_style="bold")
    for column in ("Table", "Rows", "Moved already"):
        listing.add_column(column, justify="left" if column == "Table" else "right")
    for planned in plan:
        listing.add_row(planned.table.name, f"{planned.rows:,}", f"{planned.done:,}")
    out.print(f"From {harmless(migration.source)}\nto   {harmless(migration.target)}", markup=False, highlight=False)
    out.print(listing)
    out.print("Nothing was changed.")
    return True


async def _migrate(migration: "Migration") -> bool:
    async with migration:
        plan = await migration.prepare()
        out.print(
            f"From {harmless(migration.source)}\nto   {harmless(migration.target)}", markup=False, highlight=False
        )
        with _bars(plan) as bars:
            await migration.copy(bars)
            verdicts = await migration.verify(bars)
        for verdict in verdicts:
            _say(verdict)
        same = all(verdict.same for verdict in verdicts)
        if same:
            await migration.finish()
        return same


def _say(verdict: "Verdict") -> None:
    there, here = verdict.there, verdict.here
    if verdict.same:
        out.print(f"[green]✓[/] {verdict.table}: {here.rows:,} rows, checksum {here.checksum[:16]}", highlight=False)
        return
    complain(
        f"{verdict.table}: {there.rows:,} rows with checksum {there.checksum[:16]} became {here.rows:,} rows with "
        f"checksum {here.checksum[:16]}"
    )


def _say_done(url: str) -> None:
    out.print("[green]✓[/] everything is moved. Write into config.yaml, and start the hub:")
    out.print(f"\nstore:\n  url: {harmless(shown(url))}\n", markup=False, highlight=False, soft_wrap=True)
    if shown(url) != url:
        out.print("(*** stands for the password. BOTYARD__STORE__URL in the environment serves as well.)", markup=False)


class Bars:
    """`Watcher` as progress bars, a line for each table that has rows."""

    def __init__(self, progress: Progress, plan: "list[Planned]") -> None:
        self._progress = progress
        self._plan = plan
        self._copying: dict[str, TaskID] = {}
        self._checking: dict[str, TaskID] = {}
        for planned in plan:
            if planned.rows:
                name = planned.table.name
                bar = progress.add_task(f"moving {name}", total=planned.rows, completed=planned.done)
                self._copying[name] = bar

    def moved(self, table: str, rows: int) -> None:
        """As `Watcher.moved`."""
        self._progress.advance(self._copying[table], rows)

    def checked(self, table: str, rows: int) -> None:
        """As `Watcher.checked`."""
        if table not in self._checking:
            total = next(planned.rows for planned in self._plan if planned.table.name == table)
            self._checking[table] = self._progress.add_task(f"verifying {table}", total=total)
        self._progress.advance(self._checking[table], rows)


@contextmanager
def _bars(plan: "list[Planned]") -> Iterator[Bars]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as progress:
        yield Bars(progress, plan)
