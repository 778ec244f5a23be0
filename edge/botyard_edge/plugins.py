"""Builds the plugin manager and finds drivers in it. There is no global manager: each runtime is given one."""

import importlib
from collections.abc import Iterable

import pluggy

from botyard_edge import hookspecs
from botyard_edge.driver import DriverSpec

# Built-in drivers come through the same door as everybody's.
DEFAULT_PLUGINS = (
    "botyard_plugins.sim.edge",
    "botyard_plugins.replay.edge",
    "botyard_plugins.serial.edge",
    "botyard_plugins.i2c.edge",
    "botyard_plugins.gpio.edge",
    "botyard_plugins.mavlink.edge",
)
ENTRY_POINT_GROUP = "botyard_edge"


class PluginError(Exception):
    """A plugin cannot be used; the sentence names plugin, hook or driver, and the cure."""


def build_plugin_manager(
    modules: Iterable[str] = (), *, defaults: Iterable[str] = DEFAULT_PLUGINS
) -> pluggy.PluginManager:
    """Load the built-in plugins, then the installed ones, then `modules`. Raises PluginError."""
    manager = pluggy.PluginManager("botyard_edge")
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
        known = ", ".join(sorted(name for name in vars(hookspecs) if name.startswith("botyard_edge_")))
        raise PluginError(f"{error}; the hooks are {known}") from error
    return manager


def drivers(manager: pluggy.PluginManager) -> dict[str, DriverSpec]:
    """All drivers by name. Raises PluginError when two have the same name."""
    found: dict[str, DriverSpec] = {}
    owners: dict[str, str] = {}
    for plugin in manager.get_plugins():
        owner = manager.get_name(plugin) or repr(plugin)
        others = [other for other in manager.get_plugins() if other is not plugin]
        for specs in manager.subset_hook_caller("botyard_edge_drivers", others)():
            for spec in specs:
                if spec.name in found:
                    raise PluginError(
                        f"driver {spec.name!r} is brought by both {owners[spec.name]!r} and {owner!r}; "
                        "rename one or uninstall its plugin"
                    )
                found[spec.name], owners[spec.name] = spec, owner
    return found


def unknown_driver(name: str, known: Iterable[str]) -> str:
    """The sentence for a driver that no plugin brings."""
    names = sorted(known)
    import difflib  # only those who make a mistake need it

    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"no plugin brings a driver {name!r}, known are {', '.join(names) or 'none'}{hint}"


def _register(manager: pluggy.PluginManager, name: str) -> None:
    if manager.has_plugin(name):
        raise PluginError(f"plugin {name!r} is named twice; name it once under plugins:")
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and name.startswith(error.name):
            raise PluginError(f"plugin {name!r}: there is no such module; is its package installed?") from error
        raise PluginError(f"plugin {name!r} needs the module {error.name!r}, which is not installed") from error
    except Exception as error:
        raise PluginError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}") from error
    try:
        manager.register(module, name)
    except (pluggy.PluginValidationError, ValueError) as error:
        raise PluginError(f"plugin {name!r}: {error}") from error
