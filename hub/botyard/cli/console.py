"""How the commands talk to people."""

import logging
import sys

from rich.console import Console
from rich.logging import RichHandler

out = Console()
err = Console(stderr=True)


def complain(sentences: str) -> None:
    """Say what is wrong, a line each, on standard error."""
    for line in sentences.splitlines():
        err.print("[bold red]✗[/] ", end="")
        err.print(harmless(line), markup=False, highlight=False, soft_wrap=True)


def harmless(text: str) -> str:
    """Text from outside, without the characters that would steer the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def set_up_logging(level: str) -> None:
    """Log to standard error: for eyes on a terminal, one plain line each elsewhere."""
    handler: logging.Handler
    if sys.stderr.isatty():
        handler = RichHandler(console=err, show_path=False, log_time_format="%H:%M:%S", rich_tracebacks=False)
        form = "%(message)s"
    else:
        handler = logging.StreamHandler()
        form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=level.upper(), format=form, handlers=[handler])
    for noisy in ("aiosqlite", "tortoise", "hypercorn", "mqtt"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
