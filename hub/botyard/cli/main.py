"""Puts the command line together: the hub's own commands, and those of plugins."""

import asyncio
import logging

import typer

from botyard.cli import robots, store
from botyard.cli.console import complain, out, set_up_logging
from botyard.cli.options import ConfigOption, load_or_exit
from botyard.plugin.manager import PluginError, build_plugin_manager, call_hook
from botyard_schemas import __version__
from botyard_schemas.settings import SettingsError

log = logging.getLogger(__name__)


def build_app() -> typer.Typer:
    """The `botyard` command with all its subcommands."""
    app = typer.Typer(
        name="botyard",
        help="The hub of a robot fleet: it receives, keeps and shows what robots send.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.command()(hub)
    app.command()(version)
    app.add_typer(robots.app, name="robots")
    app.add_typer(store.app, name="store")
    app.add_typer(config_app, name="config")
    try:
        call_hook(build_plugin_manager(), "botyard_commands", app=app)
    except PluginError as error:
        complain(str(error))  # a broken plugin must not take the other commands away
    return app


config_app = typer.Typer(help="The configuration.", no_args_is_help=True)


@config_app.command()
def check(config: ConfigOption = None) -> None:
    """Read the configuration, the site plans and the plugins, and say what is wrong with them."""
    settings = load_or_exit(config)
    from botyard.fleet.sites import load_sites
    from botyard.store.factory import open_store

    try:
        sites = load_sites([settings.base / site for site in settings.fleet.sites])
        open_store(settings.store_url)  # opens nothing yet
        plugins = build_plugin_manager(settings.plugins)
    except (SettingsError, PluginError, ValueError) as error:
        complain(str(error))
        raise typer.Exit(2) from error
    out.print(f"[green]✓[/] configuration is fine: {len(plugins.get_plugins())} plugins, {len(sites)} site plans")


def version() -> None:
    """Show the version."""
    out.print(f"botyard {__version__}", highlight=False)


def hub(config: ConfigOption = None) -> None:
    """Run the hub until Ctrl+C or SIGTERM."""
    settings = load_or_exit(config)
    set_up_logging(settings.log_level)
    from botyard.cli.running import run_until_stopped
    from botyard.core.hub import Hub

    raise typer.Exit(asyncio.run(run_until_stopped(lambda: Hub(settings))))
