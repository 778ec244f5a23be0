"""The topic bus inside a robot: the latest value of every topic, and bounded subscriptions.

Topics are segments with slashes, such as `samples/base/motor.current`. In a pattern `*` stands for one segment and a
final `**` for all that follow.
"""

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Self


class Item(NamedTuple):
    """One publication."""

    topic: str
    value: Any


class Overflow(enum.Enum):
    """What a full subscription does with one item more."""

    DROP_OLDEST = "drop_oldest"
    DROP_NEWEST = "drop_newest"
    LATEST = "latest"  # a newer item replaces the waiting one of the same topic; past that, the oldest is dropped


def matches(pattern: str, topic: str) -> bool:
    """Whether the topic is one that the pattern means."""
    wanted, given = pattern.split("/"), topic.split("/")
    if wanted[-1] == "**":
        wanted.pop()
        given = given[: len(wanted)] if len(given) > len(wanted) else []
    return len(wanted) == len(given) and all(w in ("*", g) for w, g in zip(wanted, given, strict=True))


class Subscription:
    """Items that match a pattern, as an async iterator. Leaving its `with` block ends it; `dropped` counts losses."""

    def __init__(self, bus: "Bus", pattern: str, size: int, overflow: Overflow) -> None:
        self.pattern = pattern
        self.dropped = 0
        self._bus = bus
        self._size = size
        self._overflow = overflow
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._bus.unsubscribe(self)

    def offer(self, item: Item) -> None:
        """Take an item in, or lose one as the policy says."""
        if self._overflow is Overflow.LATEST:
            for index, waiting in enumerate(self._items):
                if waiting.topic == item.topic:
                    self._items[index] = item
                    return
        if len(self._items) >= self._size:
            self.dropped += 1
            if self._overflow is Overflow.DROP_NEWEST:
                return
            self._items.popleft()
        self._items.append(item)
        self._filled.set()

    async def get(self) -> Item:
        """The oldest waiting item; waits for one."""
        while not self._items:
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    async def __aiter__(self) -> AsyncIterator[Item]:
        while True:
            yield await self.get()


class Bus:
    """Publishes to whoever subscribed; publishing never waits."""

    def __init__(self) -> None:
        self._latest: dict[str, Any] = {}
        self._subscriptions: list[Subscription] = []
        self._routes: dict[str, list[Subscription]] = {}

    def publish(self, topic: str, value: Any) -> None:
        """Keep the value as the topic's latest and give it to all that subscribed."""
        self._latest[topic] = value
        routes = self._routes.get(topic)
        if routes is None:
            routes = self._routes[topic] = [s for s in self._subscriptions if matches(s.pattern, topic)]
        for subscription in routes:
            subscription.offer(Item(topic, value))

    def latest(self, topic: str, default: Any = None) -> Any:
        """The last value of the topic."""
        return self._latest.get(topic, default)

    def subscribe(self, pattern: str, *, size: int = 256, overflow: Overflow = Overflow.DROP_OLDEST) -> Subscription:
        """Everything that is published from now on and matches; at most `size` (1 or more) items wait."""
        if size < 1:
            raise ValueError(f"size: {size} is less than 1")
        subscription = Subscription(self, pattern, size, overflow)
        self._subscriptions.append(subscription)
        self._routes.clear()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription; one that has ended already is left alone."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._routes.clear()
