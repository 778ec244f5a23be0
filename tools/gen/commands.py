"""The table of a command's life, from the table that the hub goes by."""

from pathlib import Path

from botyard.commands.life import TABLE, Stage
from tools.gen.markdown import table


def page(_root: Path) -> str:
    """What each sign makes of each state; "-" where it changes nothing."""
    stages = [stage for stage in Stage if any(stage in moves for moves in TABLE.values())]
    rows = [
        (sign.value, *(f"→ {TABLE[sign][one].value}" if one in TABLE[sign] else "-" for one in stages))
        for sign in TABLE
    ]
    return table(("", *(one.value for one in stages)), rows)
