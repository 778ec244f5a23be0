"""`botyard demo`: a hub and simulated robots on a small warehouse plan, in one process, over a real broker."""

import asyncio
import logging
import os
import socket
import tempfile
import webbrowser
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from botyard.cli.console import complain, out, set_up_logging
from botyard.core.config import Config, load_config
from botyard.core.hub import Hub
from botyard.plugin import hookimpl
from botyard_schemas.settings import SettingsError

log = logging.getLogger(__name__)

PLAN = Path(__file__).with_name("warehouse.yaml")
MAX_ROBOTS = 50


@hookimpl
def botyard_commands(app: typer.Typer) -> None:
    from botyard_plugins.simulation.command import sim

    app.command()(demo)
    app.command()(sim)


def demo(
    robots: Annotated[int, typer.Option(min=0, max=MAX_ROBOTS, help="How many robots drive around.")] = 5,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the dashboard, or only say where.")
    ] = True,
    data: Annotated[Path | None, typer.Option(help="Keep the data in this folder; else it goes with the demo.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives robots that behave alike.")] = 1,
) -> None:
    """Run a hub with simulated robots until Ctrl+C."""
    try:
        config = load_config(None)
    except SettingsError as error:
        complain(str(error))
        raise typer.Exit(2) from error
    set_up_logging("warning" if config.log_level == "info" else config.log_level)
    with tempfile.TemporaryDirectory(prefix="botyard-demo-") as folder:
        settings = _demo_config(config, data or Path(folder))
        code = asyncio.run(_run(settings, robots, seed, open_browser=browser))
    raise typer.Exit(code)


def _demo_config(config: Config, folder: Path) -> Config:
    """The configuration of the environment, with the demo's site, and with free ports where nobody asked for others."""
    web, broker = config.web, config.broker
    if "BOTYARD__WEB__PORT" not in os.environ and _taken(web.host, web.port):
        web = msgspec.structs.replace(web, port=0)
    if "BOTYARD__BROKER__PORT" not in os.environ and broker.url is None and _taken(broker.host, broker.port):
        broker = msgspec.structs.replace(broker, port=0)
    fleet = msgspec.structs.replace(config.fleet, sites=[*config.fleet.sites, str(PLAN)])
    return msgspec.structs.replace(config, data_dir=str(folder.absolute()), web=web, broker=broker, fleet=fleet)


def _taken(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return True
    return False


async def _run(config: Config, robots: int, seed: int, *, open_browser: bool) -> int:
    from botyard.cli.running import run_until_stopped
    from botyard_plugins.simulation.fleet import SimulatedFleet

    async def meanwhile(hub: Hub, stop: asyncio.Event) -> None:
        url = config.broker.url or hub.transports[0].address
        async with SimulatedFleet(url, robots, seed):
            _say(hub.web_url or "", robots, url)
            if open_browser and hub.web_url:
                await asyncio.to_thread(webbrowser.open, hub.web_url)
            await stop.wait()
            out.print("Stopping …")

    return await run_until_stopped(lambda: Hub(config), meanwhile)


def _say(url: str, robots: int, broker: str) -> None:
    out.print(f"[bold green]✓[/] Botyard is running with {robots} simulated robots.")
    out.print(f"  Dashboard  [bold]{url}[/]")
    out.print(f"  API        {url}/api/docs")
    out.print(f"  Broker     {broker}")
    out.print("  Your own robot joins with: botyard-edge run robot.yaml")
    out.print("  Ctrl+C ends it.")
