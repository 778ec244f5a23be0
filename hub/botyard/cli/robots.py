"""`botyard robots …`: the fleet of a running hub, over its API."""

import asyncio
import datetime as dt
import json
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from botyard.cli.asking import DEFAULT_URL, JsonOption, TokenOption, UrlOption, ask, fail
from botyard.cli.commanding import command
from botyard.cli.console import harmless, out
from botyard.web.frames import Changes, ServerFrame, Snapshot
from botyard.web.models import Robot, RobotPage

app = typer.Typer(help="The robots of a running hub.", no_args_is_help=True)
app.command()(command)

# From this width on the table has all its columns.
WIDE = 110
COLOURS = {"online": "green", "stale": "yellow", "offline": "red", "unknown": "dim"}


@app.command("list")
def list_robots(
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
    as_json: JsonOption = False,
    everyone: Annotated[bool, typer.Option("--all", help="Also robots that are retired.")] = False,
) -> None:
    """List the robots."""
    robots: list[Robot] = []
    cursor: str | None = None
    while True:
        query = {"registration": "any"} if everyone else {}
        page = msgspec.json.decode(
            ask("GET", url, token, "robots", {**query, "cursor": cursor} if cursor else query), type=RobotPage
        )
        robots += page.items
        cursor = page.next
        if cursor is None:
            break
    if as_json:
        out.print_json(msgspec.json.encode(robots).decode())
    elif not robots:
        out.print(
            "No robots yet. Start one with [bold]botyard-edge run robot.yaml[/], or look at [bold]botyard demo[/]."
        )
    else:
        out.print(_table(robots))


@app.command()
def show(robot: str, url: UrlOption = DEFAULT_URL, token: TokenOption = None) -> None:
    """Show everything that is known of one robot, as JSON."""
    out.print_json(ask("GET", url, token, f"robots/{robot}").decode())


@app.command()
def retire(robot: str, url: UrlOption = DEFAULT_URL, token: TokenOption = None) -> None:
    """Let a robot leave the fleet. What it sent stays."""
    ask("POST", url, token, f"robots/{quote(robot, safe='')}/retire")
    out.print(f"{harmless(robot)} has left the fleet; `botyard robots return` lets it take part again", markup=False)


@app.command("return")
def bring_back(robot: str, url: UrlOption = DEFAULT_URL, token: TokenOption = None) -> None:
    """Let a retired robot take part again."""
    ask("POST", url, token, f"robots/{quote(robot, safe='')}/return")
    out.print(f"{harmless(robot)} takes part again", markup=False)


@app.command()
def watch(url: UrlOption = DEFAULT_URL, token: TokenOption = None) -> None:
    """Show the robots live, until Ctrl+C."""
    try:
        asyncio.run(_watch(url, token))
    except KeyboardInterrupt:
        return
    except InvalidStatus as error:
        fail(f"the hub refuses: {json.loads(error.response.body or b'{}').get('detail', error)}")
    except (OSError, ConnectionClosed, TimeoutError) as error:
        fail(f"no connection to the hub at {url}: {error}")


async def _watch(url: str, token: str | None) -> None:
    robots: dict[str, Robot] = {}
    decoder = msgspec.json.Decoder(ServerFrame)
    address = url.rstrip("/").replace("http", "ws", 1) + "/api/v1/ws"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with connect(address, additional_headers=headers, max_size=None) as socket:
        with Live(_table([]), console=out, auto_refresh=False) as screen:
            async for text in socket:
                frame = decoder.decode(text)
                match frame:
                    case Snapshot():
                        robots = {robot.id: robot for robot in frame.robots}
                    case Changes():
                        robots.update({robot.id: robot for robot in frame.robots})
                        for gone in frame.removed:
                            robots.pop(gone, None)
                screen.update(_table([robots[robot] for robot in sorted(robots)]), refresh=True)


def _table(robots: list[Robot]) -> Table:
    wide = out.width >= WIDE
    table = Table(box=None, header_style="bold")
    for column in ("Robot", "Name", *(("Type", "Group", "Mode") if wide else ()), "Presence", "Status", "Battery"):
        table.add_column(column, no_wrap=True)
    table.add_column("Position", no_wrap=True)
    table.add_column("Last seen", no_wrap=True)
    for robot in robots:
        state = robot.status.state
        presence = robot.status.presence.status
        registration = robot.status.registration
        details = (robot.spec.type, robot.spec.group or "", state.mode if state else "") if wide else ()
        # as Text, since what stands in brackets in a plain cell is taken for markup
        table.add_row(
            *(Text(harmless(text)) for text in (robot.id, robot.spec.name, *details)),
            Text(presence, COLOURS[presence]),
            Text(registration, "yellow") if registration != "accepted" else robot.status.logical,
            f"{state.battery.level:.0%}" if state and state.battery else "",
            Text(harmless(_position(robot))),
            _ago(robot.status.last_seen),
        )
    return table


def _position(robot: Robot) -> str:
    state = robot.status.state
    if state and state.pose:
        return f"{state.pose.frame} {state.pose.x:.1f}, {state.pose.y:.1f}"
    if state and state.geo:
        return f"{state.geo.lat:.5f}, {state.geo.lon:.5f}"
    return ""


def _ago(ts: int | None) -> str:
    if ts is None:
        return "never"
    seconds = max(0, int(dt.datetime.now(dt.UTC).timestamp() - ts / 1e6))
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"{seconds // 3600} h ago"
