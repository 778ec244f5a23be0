"""`botyard-edge status`: the page of `screen` once, as JSON, or again and again."""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import msgspec

from botyard_edge.local.door import Answer, DoorError, Request, ask
from botyard_edge.local.screen import Screen

EVERY = 1.0
HOME, TO_THE_END, REST_OF_LINE = "\x1b[H", "\x1b[J", "\x1b[K"
OTHER_SCREEN, OWN_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def as_json(door: Path, out: TextIO) -> int:
    """Print what the robot answers. Raises DoorError."""
    answer = ask(door, Request("status"))
    document = msgspec.to_builtins(answer.status) | {"page": answer.page}
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode(), file=out)
    return 0


def once(door: Path, out: TextIO, environ: Mapping[str, str]) -> int:
    """Print the page. Raises DoorError."""
    out.write(_drawn(ask(door, Request("status")), out, environ))
    return 0


def watch(door: Path, out: TextIO, environ: Mapping[str, str]) -> int:
    """Print the page every second until Ctrl+C, on a terminal in place. Raises DoorError when no robot runs at first;
    later one is waited for."""
    answer: Answer | None = ask(door, Request("status"))
    problem = ""
    terminal = out.isatty()
    out.write(OTHER_SCREEN if terminal else "")
    try:
        while True:
            text = f"{problem}\n" if answer is None else _drawn(answer, out, environ)
            out.write(HOME + text.replace("\n", f"{REST_OF_LINE}\n") + TO_THE_END if terminal else text + "\n")
            out.flush()
            time.sleep(EVERY)
            try:
                answer = ask(door, Request("status"))
            except DoorError as error:
                answer, problem = None, str(error)
    except KeyboardInterrupt:
        return 0
    finally:
        out.write(OWN_SCREEN if terminal else "")


def _drawn(answer: Answer, out: TextIO, environ: Mapping[str, str]) -> str:
    colour = out.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
    return Screen(colour=colour, width=shutil.get_terminal_size().columns).draw(answer)
