"""Where messages wait whose robots are just being let in, so that nobody else waits with them.

To let a robot in may take seconds: an auth provider is asked, and a new robot is written to the store. Its messages
keep their order meanwhile, and all others go on.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

from botyard.core.tasks import Tasks
from botyard.plugin.api import Inbound

# Bytes that wait here of one robot, and of all.
MOST_OF_ONE = 4 * 1024 * 1024
MOST = 64 * 1024 * 1024
# What a message counts beside its payload.
OVERHEAD = 500


class _Visitor:
    """What waits of one robot."""

    __slots__ = ("messages", "size")

    def __init__(self) -> None:
        self.messages: deque[Inbound] = deque()
        self.size = 0


class Lobby:
    """Hands messages to `receive`, those of one robot one after the other, while its `async with` lasts."""

    def __init__(self, receive: Callable[[Inbound], Awaitable[object]]) -> None:
        self._receive = receive
        self._visitors: dict[str, _Visitor] = {}
        self._size = 0
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        """What still waits is dropped: nobody was told that it is here, so it comes again."""
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)

    def __contains__(self, robot: str) -> bool:
        return robot in self._visitors

    def __len__(self) -> int:
        """Robots that wait."""
        return len(self._visitors)

    def park(self, robot: str, message: Inbound) -> bool:
        """Let a message wait for its turn; False when there is no room for it."""
        size = len(message.payload) + OVERHEAD
        visitor = self._visitors.get(robot)
        if self._size + size > MOST or (visitor is not None and visitor.size + size > MOST_OF_ONE):
            return False
        if visitor is None:
            visitor = self._visitors[robot] = _Visitor()
            self._tasks.start(self._let_in(robot, visitor), f"hub.ingest.lobby {robot[:64]}")
        visitor.messages.append(message)
        visitor.size += size
        self._size += size
        return True

    async def _let_in(self, robot: str, visitor: _Visitor) -> None:
        try:
            while visitor.messages:
                message = visitor.messages[0]
                await self._receive(message)
                visitor.messages.popleft()
                size = len(message.payload) + OVERHEAD
                visitor.size -= size
                self._size -= size
        finally:
            del self._visitors[robot]
            self._size -= visitor.size
