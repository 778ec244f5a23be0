"""Options that several commands share, and what they lead to."""

from pathlib import Path
from typing import Annotated

import typer

from botyard.cli.console import complain
from botyard.core.config import Config, read_config
from botyard_schemas.settings import SettingsError

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", envvar="BOTYARD_CONFIG", help="Configuration file; else ./config.yaml if there is one."
    ),
]


def load_or_exit(path: Path | None) -> Config:
    """The configuration; ends the command with the mistakes in it."""
    try:
        return read_config(path)
    except SettingsError as error:
        complain(str(error))
        raise typer.Exit(2) from error
