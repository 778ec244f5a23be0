"""The event bus: subscribe by class, so that the type checker sees the handlers."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from botyard.core.events import HubEvent

log = logging.getLogger(__name__)

E = TypeVar("E", bound=HubEvent)
Handler = Callable[[E], None]


class Bus:
    """Delivers events at once, in the order of subscription. Handlers are quick, do not block and do not await.

    One handler that raises stops nobody else.
    """

    def __init__(self) -> None:
        self._handlers: dict[type[HubEvent], tuple[Handler[Any], ...]] = {}

    def subscribe(self, event_type: type[E], handler: Handler[E]) -> Callable[[], None]:
        """Call `handler` with every event of exactly this class, until the returned function is called."""
        self._handlers[event_type] = (*self._handlers.get(event_type, ()), handler)

        def unsubscribe() -> None:
            left = list(self._handlers[event_type])
            if handler in left:
                left.remove(handler)
            self._handlers[event_type] = tuple(left)

        return unsubscribe

    def listened(self, event_type: type[HubEvent]) -> bool:
        """Whether anybody subscribed to this class, for those who would make a great many events for nobody."""
        return bool(self._handlers.get(event_type))

    def publish(self, event: HubEvent) -> None:
        """Deliver to everyone who subscribed to the event's class."""
        for handler in self._handlers.get(type(event), ()):
            try:
                handler(event)
            except Exception:
                log.exception("%r failed on %s", handler, type(event).__name__)
