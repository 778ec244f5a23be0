"""The table of the presence of robots, from the table that the hub goes by."""

from pathlib import Path

from botyard.fleet.presence import TABLE, Standing
from tools.gen.markdown import table

NAMES = {
    Standing.UNKNOWN: "unknown",
    Standing.ONLINE: "online",
    Standing.STALE: "stale",
    Standing.LOST: "offline by silence",
    Standing.LEFT: "offline otherwise",
}


def page(_root: Path) -> str:
    """What each sign makes of each state; "-" where it changes nothing."""
    rows = [
        (sign.value, *("-" if to is start else f"→ {NAMES[to]}" for start, to in TABLE[sign].items())) for sign in TABLE
    ]
    return table(("", *(NAMES[one] for one in Standing)), rows)
