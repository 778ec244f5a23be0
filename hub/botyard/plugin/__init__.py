"""The public plugin API of the hub: everything that a plugin may import from `botyard`, and nothing else is stable.

A plugin is a module with functions marked `@hookimpl`; the hooks are listed in `botyard.plugin.hookspecs`. It is loaded
when it is installed with an entry point in the group `botyard`, or named under `plugins:` in config.yaml. Hooks
register objects; the work happens in the objects' async methods.
"""

from botyard.core.actor import HUB, Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.config import Config, is_loopback, read_config
from botyard.plugin.api import (
    Access,
    Allow,
    AuthProvider,
    Connection,
    Deny,
    Inbound,
    Inbox,
    PluginContext,
    RobotSocket,
    SocketTransport,
    Transport,
    hookimpl,
)
from botyard.plugin.manager import PluginError

__all__ = [
    "HUB",
    "Access",
    "Actor",
    "Allow",
    "AuthProvider",
    "Bus",
    "Config",
    "Connection",
    "Deny",
    "Inbound",
    "Inbox",
    "PluginContext",
    "PluginError",
    "RobotSocket",
    "SocketTransport",
    "Transport",
    "hookimpl",
    "is_loopback",
    "read_config",
    "robot_actor",
]
