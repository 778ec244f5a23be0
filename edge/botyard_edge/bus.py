"""The topic bus inside a robot: the latest value of every topic, and bounded subscriptions.

Topics are segments with slashes, such as `samples/base/motor.current`. In a pattern `*` stands for one segment and a
final `**` for one or more. Elsewhere neither may stand.
"""

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, Protocol, Self


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


def check_pattern(pattern: str) -> str:
    """The pattern. Raises ValueError for one that would never match."""
    *before, _ = segments = pattern.split("/")
    if "" in segments or "**" in before or any("*" in one and one not in ("*", "**") for one in segments):
        raise ValueError(f"{pattern!r} is no pattern: expected segments, `*` for one and a final `**` for more")
    return pattern


class Listener(Protocol):
    """What the bus gives items to. Neither method may wait, or raise."""

    def wants(self, topic: str) -> bool:
        """Whether items of this topic are for it; the answer is always the same."""

    def offer(self, item: Item) -> None:
        """Take an item."""


class SubscriptionEndedError(Exception):
    """The subscription has ended, and nothing more will come of it."""


class Subscription:
    """Items that match a pattern, as an async iterator. Leaving its `with` block ends it; `dropped` counts losses."""

    def __init__(self, bus: "Bus", pattern: str, size: int, overflow: Overflow) -> None:
        self.pattern = check_pattern(pattern)
        self.ended = False
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

    def wants(self, topic: str) -> bool:
        return matches(self.pattern, topic)

    def end(self) -> None:
        """Nothing more comes; what waits already can still be taken."""
        self.ended = True
        self._filled.set()

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
        """The oldest waiting item; waits for one. Raises SubscriptionEndedError when none can come any more."""
        while not self._items:
            if self.ended:
                raise SubscriptionEndedError(f"the subscription to {self.pattern} has ended")
            self._filled.clear()
            await self._filled.wait()
        return self._items.popleft()

    async def __aiter__(self) -> AsyncIterator[Item]:
        while True:
            try:
                item = await self.get()
            except SubscriptionEndedError:
                return
            yield item


class Bus:
    """Publishes to whoever listens; publishing never waits."""

    def __init__(self) -> None:
        self._latest: dict[str, Any] = {}
        self._listeners: list[Listener] = []
        self._routes: dict[str, list[Listener]] = {}

    def publish(self, topic: str, value: Any) -> None:
        """Keep the value as the topic's latest and give it to all that listen. Raises ValueError for a topic with an
        empty segment or a `*`."""
        routes = self._routes.get(topic)
        if routes is None:
            if "*" in topic or "" in topic.split("/"):
                raise ValueError(f"{topic!r} is no topic: expected segments without `*`")
            routes = self._routes[topic] = [one for one in self._listeners if one.wants(topic)]
        self._latest[topic] = value
        if routes:
            item = Item(topic, value)
            for listener in routes:
                listener.offer(item)

    def latest(self, topic: str, default: Any = None) -> Any:
        """The last value of the topic."""
        return self._latest.get(topic, default)

    def topics(self) -> list[str]:
        """All topics that were ever published."""
        return list(self._latest)

    def subscribe(self, pattern: str, *, size: int = 256, overflow: Overflow = Overflow.DROP_OLDEST) -> Subscription:
        """Everything that is published from now on and matches; at most `size` (1 or more) items wait. Raises
        ValueError."""
        if size < 1:
            raise ValueError(f"size: {size} is less than 1")
        subscription = Subscription(self, pattern, size, overflow)
        self.attach(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """End a subscription, also for whoever waits in it; one that has ended already is left alone."""
        self.detach(subscription)
        subscription.end()

    def attach(self, listener: Listener) -> None:
        """From now on the listener gets what it wants."""
        self._listeners.append(listener)
        self._routes.clear()

    def detach(self, listener: Listener) -> None:
        """It gets nothing more; one that is not attached is left alone."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._routes.clear()
