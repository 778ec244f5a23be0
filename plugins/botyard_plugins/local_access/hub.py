"""The default access rule: loopback comes in freely, others show the token that the hub made at its first start.

`web.trust_loopback: false` makes visitors on loopback show the token, too.
"""

import hmac
import logging
import os
import secrets
from pathlib import Path

import typer

from botyard.plugin import (
    Access,
    Actor,
    Allow,
    AuthProvider,
    Connection,
    Deny,
    PluginContext,
    hookimpl,
    is_loopback,
    robot_actor,
)
from botyard.plugin.cli import ConfigOption, complain, load_or_exit

log = logging.getLogger(__name__)

TOKEN_FILE = "token"  # noqa: S105 - a file's name


@hookimpl
def botyard_auth(context: PluginContext) -> AuthProvider:
    token, new = obtain_token(context.config.data)
    reachable = [
        name
        for name, host in (("the dashboard", context.config.web.host), ("the broker", context.config.broker.host))
        if not is_loopback(host)
    ]
    if new:
        level = logging.WARNING if reachable else logging.INFO
        log.log(level, "access token for other machines (kept in %s): %s", context.config.data / TOKEN_FILE, token)
    elif reachable:
        log.info("other machines reach %s with the access token; `botyard token` shows it", " and ".join(reachable))
    return LocalAccess(token, trust_loopback=context.config.web.trust_loopback)


@hookimpl
def botyard_commands(app: typer.Typer) -> None:
    @app.command()
    def token(config: ConfigOption = None) -> None:
        """Show the access token that other machines need."""
        file = load_or_exit(config).data / TOKEN_FILE
        try:
            kept = read_token(file)
        except (OSError, ValueError) as error:
            complain(f"{file} cannot be read: {error}")
            raise typer.Exit(1) from error
        if kept is None:
            complain(
                f"there is no access token in {file.parent} yet: the hub makes it at its first start with this "
                "configuration (start it with `botyard hub`, or name its configuration with --config)"
            )
            raise typer.Exit(1)
        typer.echo(kept)


def read_token(file: Path) -> str | None:
    """The token that a hub has made; None when none has. Raises OSError, and ValueError for what is no text."""
    try:
        return file.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None


def obtain_token(folder: Path) -> tuple[str, bool]:
    """The token in the data folder, and whether it was made just now."""
    file = folder / TOKEN_FILE
    if kept := read_token(file):
        return kept, False
    folder.mkdir(parents=True, exist_ok=True)
    made = secrets.token_urlsafe(24)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.fchmod(descriptor, 0o600)  # it may have been there, empty, with another mode
    with open(descriptor, "w", encoding="ascii") as stream:  # noqa: PTH123 - a descriptor with its mode set
        stream.write(made + "\n")
    return made, True


class LocalAccess(AuthProvider):
    """Lets in this machine and whoever shows the token."""

    def __init__(self, token: str, *, trust_loopback: bool = True) -> None:
        self._token = token
        self._trust_loopback = trust_loopback

    def broker_token(self) -> str | None:
        return self._token

    async def authenticate(self, connection: Connection) -> Access | None:
        user = connection.kind == "request"
        if connection.token is not None:
            if hmac.compare_digest(connection.token.encode(), self._token.encode()):
                return Allow(Actor("user", "token") if user else robot_actor(connection.robot or ""))
            return Deny("the access token is wrong; `botyard token` shows it on the hub's machine")
        if connection.kind == "robot" and connection.peer is None:
            # a broker that is not ours alone has checked the robot's credentials before it passed the message on
            return Allow(robot_actor(connection.robot or ""))
        if connection.peer is not None and is_loopback(connection.peer) and not connection.forwarded:
            # whoever comes to a broker of this machine alone has passed no door of ours that could ask for a token
            if self._trust_loopback or connection.transport == "mqtt":
                return Allow(Actor("user", "loopback") if user else robot_actor(connection.robot or ""))
            return Deny("an access token is needed, also on the hub's machine; `botyard token` shows it there")
        return Deny("an access token is needed from another machine; `botyard token` shows it on the hub's machine")
