"""`botyard bench`: how much a hub carries on this machine."""

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from botyard.plugin import hookimpl
from botyard.plugin.cli import complain

# As a shell reports a program that Ctrl+C ended.
INTERRUPTED = 130


@hookimpl
def botyard_commands(app: typer.Typer) -> None:
    app.command()(bench)


def bench(
    robots: Annotated[int, typer.Option(help="How many virtual robots.")] = 100,
    rate: Annotated[float, typer.Option(help="Messages per second of each robot.")] = 10.0,
    channels: Annotated[int, typer.Option(help="Channels of each robot.")] = 4,
    sets_per_message: Annotated[
        int, typer.Option("--sets-per-message", help="Samples of each channel in one message.")
    ] = 1,
    qos: Annotated[int, typer.Option(help="MQTT quality of service of telemetry, 0 or 1.")] = 0,
    seconds: Annotated[float, typer.Option(help="How long is measured.")] = 10.0,
    speed: Annotated[
        str, typer.Option(help="`rate` keeps --rate; `max` sends as fast as acknowledgements allow.")
    ] = "rate",
    outage: Annotated[
        float, typer.Option(help="The robots begin with what they collected in an outage of so many seconds.")
    ] = 0.0,
    drain_rate: Annotated[
        float, typer.Option("--drain-rate", help="The most messages per second of each robot's backlog.")
    ] = 1000.0,
    state_every: Annotated[
        float, typer.Option("--state-every", help="Seconds between a robot's state messages; 0 for none.")
    ] = 5.0,
    heartbeat: Annotated[float, typer.Option(help="Seconds between a robot's presence messages.")] = 10.0,
    connections: Annotated[
        int | None, typer.Option(help="MQTT connections that the robots share; else each has one, with its last will.")
    ] = None,
    generators: Annotated[int, typer.Option(help="Processes that act the robots.")] = 1,
    window: Annotated[
        int | None, typer.Option(help="Messages of a robot that may wait for an acknowledgement; else 64.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="The robots' ids begin with it.")] = "bench",
    store: Annotated[
        str | None, typer.Option(help="Database of the hub that is started: postgresql://…; else SQLite.")
    ] = None,
    broker: Annotated[str | None, typer.Option(help="Another broker than the embedded one: mqtt://….")] = None,
    url: Annotated[
        str | None, typer.Option(help="A hub that runs already, instead of starting one; needs --broker.")
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="BOTYARD_TOKEN", help="Access token of a hub on another machine.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the robots and their data in a hub that stays.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same values.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="Save the result in this file.")] = None,
) -> None:
    """Measure what a hub carries, with virtual robots that keep the whole wire contract; and check that nothing is
    missing in the end."""
    from botyard_plugins.bench.plan import Plan, PlanError, check

    if speed not in ("rate", "max"):
        complain(f"--speed: {speed!r} is neither 'rate' nor 'max'")
        raise typer.Exit(2)
    plan = Plan(
        robots=robots, rate=rate, speed="max" if speed == "max" else "rate", channels=channels, sets=sets_per_message,
        qos=qos, seconds=seconds, outage=outage, pace=drain_rate, state_every=state_every, heartbeat=heartbeat,
        connections=connections, generators=generators, window=window, prefix=prefix, store=store, broker=broker,
        url=url, token=token, seed=seed, keep=keep,
    )  # fmt: skip
    try:
        check(plan)
        if json_file and not json_file.parent.is_dir():
            raise PlanError(f"--json: there is no folder {str(json_file.parent)!r}")
    except PlanError as error:
        complain(str(error))
        raise typer.Exit(2) from error
    raise typer.Exit(asyncio.run(_run(plan, json_file)))


async def _run(plan: Any, json_file: Path | None) -> int:
    """Run it until it is done or somebody ends it. Gives the exit code."""
    import msgspec
    from rich.console import Console

    from botyard_plugins.bench.processes import BenchError
    from botyard_plugins.bench.report import show
    from botyard_plugins.bench.run import run
    from botyard_plugins.bench.screen import Screen

    console = Console()
    running = asyncio.current_task()
    assert running  # noqa: S101 - a coroutine runs in a task
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, running.cancel)
    try:
        with Screen(console) as screen:
            result = await run(plan, screen.say)
    except asyncio.CancelledError:
        complain("ended before it was done")
        return INTERRUPTED
    except BenchError as error:
        complain(str(error))
        return 1
    show(result, console)
    if json_file:
        text = msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n"
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(json_file.write_bytes, text)
    return 0 if result.verified.ok else 1
