"""What is being done, on the terminal while it is done."""

from typing import Any, Self

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Screen:
    """A line that moves on a terminal; elsewhere a line for each thing that begins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=console, transient=True
        )
        self._title = ""

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._progress.start()
            self._task = self._progress.add_task("")
        return self

    def __exit__(self, *exc: Any) -> None:
        self._progress.stop()

    def say(self, title: str, detail: str) -> None:
        """What is being done now, and how far it is."""
        if self._console.is_terminal:
            self._progress.update(self._task, description=f"{title}  [dim]{detail}[/]")
        elif title != self._title:
            self._console.print(f"{title} …", highlight=False)
        self._title = title
