"""`botyard robots command …`: ask a robot to do something, and see what comes of it."""

import json
import time
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from botyard.cli.asking import DEFAULT_URL, JsonOption, TokenOption, UrlOption, ask, fail
from botyard.cli.console import harmless, out
from botyard.web.models import Command, CommandDetail

POLL = 0.3
OPEN = ("queued", "sent", "accepted", "running")


def command(
    robot: str,
    name: Annotated[str, typer.Argument(help="What to do: `safety.stop`, `safety.safe`, or what its drivers offer.")],
    args: Annotated[str, typer.Option("--args", help="Its arguments, as a JSON object.")] = "{}",
    expires_in: Annotated[float, typer.Option("--expires-in", help="Seconds within which it has to be begun.")] = 60.0,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for its end; exit code 1 unless it worked.")] = False,
    as_json: JsonOption = False,
    url: UrlOption = DEFAULT_URL,
    token: TokenOption = None,
) -> None:
    """Ask a robot to do something. No command clears an emergency stop: that is done at the robot."""
    body = {"name": name, "args": _parsed(args), "expires_in": expires_in}
    path = f"robots/{quote(robot, safe='')}/commands"
    asked = msgspec.json.decode(ask("POST", url, token, path, body=body), type=Command)
    if not wait:
        if as_json:
            out.print_json(msgspec.json.encode(asked).decode())
        else:
            out.print(f"{asked.id} is {asked.status.status}", markup=False)
        return
    try:
        ended = _followed(url, token, f"{path}/{asked.id}", quiet=as_json)
    except KeyboardInterrupt:
        fail(f"{asked.id} goes on; the hub follows it")
    if as_json:
        out.print_json(msgspec.json.encode(ended).decode())
    if ended.status.status != "succeeded":
        raise typer.Exit(1)


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        fail(f"--args: {text!r} is not JSON: {error}")
    if not isinstance(parsed, dict):
        fail(f'--args: {text!r} is no JSON object, expected something like {{"x": 4.0}}')
    return parsed


def _followed(url: str, token: str | None, path: str, *, quiet: bool) -> CommandDetail:
    """The command at its end. A line for each status on the way, unless `quiet`."""
    told = ""
    while True:
        now = msgspec.json.decode(ask("GET", url, token, path), type=CommandDetail)
        status = now.status.status
        if status != told and not quiet:
            told = status
            out.print(harmless(f"{status}: {now.status.reason}" if now.status.reason else status), markup=False)
        if status not in OPEN:
            if not quiet and (result := next((r.result for r in reversed(now.reports) if r.result), None)):
                out.print_json(json.dumps(result))
            return now
        time.sleep(POLL)
