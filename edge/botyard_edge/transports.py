"""From settings to transports. The libraries are heavy, so each is imported only when something needs it."""

from urllib.parse import urlsplit

from botyard_edge.config import Config, TransportSettings
from botyard_edge.plugins import PluginError
from botyard_edge.transport import Transport


def make_transports(config: Config) -> list[Transport]:
    """The robot's transports, in order of preference. Raises PluginError when a library is missing."""
    try:
        return [_make(config, rank, settings) for rank, settings in enumerate(config.transports)]
    except ModuleNotFoundError as error:
        raise PluginError(f"the package {error.name!r} is missing: pip install 'botyard[edge]'") from error


def _make(config: Config, rank: int, settings: TransportSettings) -> Transport:
    timeout = config.link.connect_within / 2  # that of one step
    if urlsplit(settings.url).scheme in ("ws", "wss"):
        from botyard_edge.websocket import WebSocketTransport

        return WebSocketTransport(
            config.robot,
            settings.url,
            settings.username,
            settings.password,
            settings.token,
            settings.keepalive,
            timeout,
            settings.tls,
        )
    from botyard_edge.mqtt import MqttTransport

    return MqttTransport(
        config.robot,
        settings.url,
        settings.username or (config.robot if settings.token else None),
        settings.password or settings.token,
        settings.keepalive,
        timeout,
        settings.version,
        settings.tls,
        suffix=f"-{rank + 1}" if rank else "",
    )
