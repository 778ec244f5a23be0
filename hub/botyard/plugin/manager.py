"""Builds the plugin manager. There is no global one: a hub, a command line and a test each have their own."""

import importlib
import logging
import traceback
from collections.abc import Iterable
from typing import Any

import pluggy

from botyard.plugin import hookspecs
from botyard_schemas.settings import SettingsError

log = logging.getLogger(__name__)

# Built-in plugins come through the same door as everybody's; the order is that of loading. What was loaded last is
# asked first, so the broker is the hub's first transport.
DEFAULT_PLUGINS = (
    "botyard.transport.websocket",
    "botyard.transport.mqtt",
    "botyard_plugins.local_access.hub",
    "botyard_plugins.simulation.hub",
    "botyard_plugins.bench.hub",
)
ENTRY_POINT_GROUP = "botyard"


class PluginError(Exception):
    """A plugin cannot be used; the sentence names plugin, hook or name, and the cure."""


def build_plugin_manager(
    modules: Iterable[str] = (), *, defaults: Iterable[str] = DEFAULT_PLUGINS
) -> pluggy.PluginManager:
    """Load the built-in plugins, then the installed ones, then the `modules`. Raises PluginError."""
    manager = pluggy.PluginManager("botyard")
    manager.add_hookspecs(hookspecs)
    for name in defaults:
        _register(manager, name)
    try:
        manager.load_setuptools_entrypoints(ENTRY_POINT_GROUP)
    except Exception as error:
        raise PluginError(f"an installed plugin cannot be loaded: {error}; fix or uninstall its package") from error
    for name in modules:
        _register(manager, name)
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        known = ", ".join(sorted(name for name in vars(hookspecs) if name.startswith("botyard_")))
        raise PluginError(
            f"plugin {manager.get_name(error.plugin)!r}: {_line(error)}; the hooks are {known}"
        ) from error
    return manager


def call_hook(manager: pluggy.PluginManager, hook: str, **arguments: Any) -> list[Any]:
    """What the plugins give for a hook, without the Nones. Raises PluginError that names the plugin that raised, and
    SettingsError as it is."""
    caller = getattr(manager.hook, hook)
    try:
        results: list[Any] = caller(**arguments)
    except (PluginError, SettingsError):
        raise
    except Exception as error:
        names = {impl.function.__code__: impl.plugin_name for impl in caller.get_hookimpls()}
        frames = (names.get(frame.f_code) for frame, _ in traceback.walk_tb(error.__traceback__))
        name = next(filter(None, frames), "?")
        log.debug("%s failed in plugin %r", hook, name, exc_info=error)
        raise PluginError(f"plugin {name!r} failed in {hook}: {type(error).__name__}: {_line(error)}") from error
    return results


def _register(manager: pluggy.PluginManager, name: str) -> None:
    if manager.has_plugin(name):
        raise PluginError(f"plugin {name!r} is named twice; name it once under plugins:")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and f"{name}.".startswith(f"{error.name}."):
            raise PluginError(f"plugin {name!r}: there is no such module; is its package installed?") from error
        raise PluginError(f"plugin {name!r} needs the module {error.name!r}, which is not installed") from error
    except (Exception, SystemExit) as error:
        raise PluginError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {_line(error)}") from error
    try:
        manager.register(module, name)
    except pluggy.PluginValidationError as error:
        raise PluginError(f"plugin {name!r}: {_line(error)}") from error


def _line(error: BaseException) -> str:
    return "; ".join(line.strip() for line in str(error).splitlines())
