"""The hooks of the hub. Every hook is synchronous and registers objects; None or an empty list registers nothing."""

from collections.abc import Sequence

import pluggy
import typer

from botyard.plugin.api import AuthProvider, Inbox, PluginContext, Transport

hookspec = pluggy.HookspecMarker("botyard")


@hookspec
def botyard_auth(context: PluginContext) -> AuthProvider | None:
    """Give an auth provider, which then sees every request and every robot connection. All results are used, the
    plugins that were loaded last are asked first."""


@hookspec
def botyard_transports(
    context: PluginContext, inbox: Inbox, auth: Sequence[AuthProvider]
) -> Sequence[Transport] | None:
    """Give transports that carry messages between robots and the hub's inbox. All results are used."""


@hookspec
def botyard_commands(app: typer.Typer) -> None:
    """Add commands to the `botyard` command line. Import what is heavy inside the commands."""
