"""Running a hub in the foreground."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from botyard.core.garbage import collecting_seldom
from botyard.core.hub import Hub
from botyard.plugin.manager import PluginError
from botyard.store.base import StoreError
from botyard.transport.embedded import BrokerError
from botyard_schemas.settings import SettingsError

log = logging.getLogger(__name__)

# What can be wrong with a machine or a configuration; anything else is our own mistake and deserves its traceback.
EXPECTED = (SettingsError, PluginError, StoreError, BrokerError, OSError)


async def run_until_stopped(
    make_hub: Callable[[], Hub], meanwhile: Callable[[Hub, asyncio.Event], Awaitable[None]] | None = None
) -> int:
    """Run a hub until SIGINT or SIGTERM, and `meanwhile` beside it. Gives the exit code."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with make_hub() as hub, collecting_seldom(hub.clock):
            log.info("ready%s", f"; robots join at {hub.transports[0].address}" if hub.transports else "")
            if meanwhile is None:
                await stop.wait()
            else:
                await meanwhile(hub, stop)
            log.info("stopping")
    except EXPECTED as error:
        for line in str(error).splitlines():
            log.error("%s", line)
        return 1
    if hub.ingest is not None and hub.ingest.left:
        log.error(
            "stopped with %d messages that are not committed; robots keep what was not acknowledged", hub.ingest.left
        )
        return 1
    log.info("stopped; everything that was received is committed")
    return 0
