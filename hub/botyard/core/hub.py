"""The hub: starts its parts in order, and stops them in the opposite order."""

import contextlib
import logging
from typing import Any, Self

import pluggy

from botyard.commands.commands import Commands
from botyard.core.actor import HUB
from botyard.core.bus import Bus
from botyard.core.config import Config
from botyard.core.events import EventNoted, TransportChanged
from botyard.fleet.fleet import Fleet
from botyard.fleet.sites import Site, load_sites
from botyard.ingest.ingest import Ingest
from botyard.plugin.api import AuthProvider, PluginContext, Transport
from botyard.plugin.manager import build_plugin_manager, call_hook
from botyard.store.base import EventRow, Store
from botyard.store.factory import open_store
from botyard.store.holdings import UNITS, ClassName
from botyard.store.retention import Retention
from botyard_schemas import __version__
from botyard_schemas.clock import Clock, SystemClock
from botyard_schemas.messages import Severity
from botyard_schemas.settings import SettingsError

log = logging.getLogger(__name__)


class Hub:
    """Everything that runs in one hub process, for as long as its `async with` lasts.

    Entering raises SettingsError, PluginError, StoreError, BrokerError or OSError with a sentence that says what is
    wrong; then nothing is left running. Without `processes` SQLite works in this one, for tests.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        plugins: pluggy.PluginManager | None = None,
        processes: bool = True,
    ) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.bus = Bus()
        self.started = 0
        self.sites: list[Site] = []
        self.transports: list[Transport] = []
        self.auth: list[AuthProvider] = []
        self.ingest: Ingest | None = None
        self.commands: Commands | None = None
        self.web_url: str | None = None
        self._processes = processes
        self.store: Store
        self.retention: Retention
        self.fleet: Fleet
        self._plugins = plugins
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            await self._start(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._stack.__aexit__(*exc)

    async def _start(self, stack: contextlib.AsyncExitStack) -> None:
        config = self.config
        self.started = self.clock.now()
        self.sites = load_sites([config.base / site for site in config.fleet.sites])
        config.data.mkdir(parents=True, exist_ok=True)
        plugins = self._plugins or build_plugin_manager(config.plugins)
        context = PluginContext(config, self.bus, self.clock)
        self.auth = call_hook(plugins, "botyard_auth", context=context)
        self.store = await stack.enter_async_context(self._make_store())
        self.retention = await stack.enter_async_context(
            Retention(self.store, config.store.keep, self.clock, self._expired)
        )
        self.fleet = await stack.enter_async_context(Fleet(config.fleet, self.store, self.bus, self.clock, self.auth))
        if "ingest" in config.roles:
            await self._start_ingest(stack, plugins, context)
        if "web" in config.roles:
            from botyard.web.server import WebServer  # a hub without the role needs no web framework

            server = await stack.enter_async_context(WebServer(self))
            self.web_url = server.url
            log.info("dashboard and API at %s", server.url)

    def _make_store(self) -> Store:
        url, limit = self.config.store_url, self.config.store.quarantine_limit
        try:
            return open_store(url, quarantine_limit=limit, clock=self.clock, processes=self._processes)
        except ValueError as error:
            raise SettingsError([str(error)]) from error

    async def _start_ingest(
        self, stack: contextlib.AsyncExitStack, plugins: pluggy.PluginManager, context: PluginContext
    ) -> None:
        ingest = Ingest(self.config.ingest, self.store, self.fleet, self.bus, self.clock)
        self.ingest = await stack.enter_async_context(ingest)
        commands = Commands(self.store, self.fleet, self.bus, self.clock)
        self.commands = await stack.enter_async_context(commands)
        self._note("hub.started", "info", f"version {__version__}")
        stack.callback(self._note, "hub.stopped", "info", "on request")
        stack.callback(self.bus.subscribe(TransportChanged, self._transport_changed))
        found = call_hook(plugins, "botyard_transports", context=context, inbox=ingest, auth=self.auth)
        self.transports = [transport for several in found for transport in several]
        ingest.attach(self.transports)
        commands.attach(self.transports)
        for transport in self.transports:
            await stack.enter_async_context(transport)

    def _transport_changed(self, change: TransportChanged) -> None:
        if change.connected:
            self._note("broker.connected", "info", f"{change.transport} is connected")
        else:
            self._note("broker.lost", "warning", f"{change.transport} is not connected: {change.error}")

    def _expired(self, name: ClassName, count: int, size: int) -> None:
        words = f"{count} {UNITS[name]} were too old or too much and are deleted (store.keep.{name})"
        self._note("store.expired", "info", words, {"class": name, "count": count, "bytes": size})

    def _note(self, name: str, severity: Severity, message: str, data: dict[str, Any] | None = None) -> None:
        row = EventRow(
            ts=self.clock.now(),
            robot=None,
            actor=str(HUB),
            name=name,
            severity=severity,
            message=message,
            data=data or {},
        )
        self.bus.publish(EventNoted(actor=HUB, event=row))
