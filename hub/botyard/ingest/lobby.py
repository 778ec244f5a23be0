"""Where messages wait whose robots are just being let in, so that nobody else waits with them.

To let a robot in may take seconds: an auth provider is asked, and a new robot is written to the store. Its messages
keep their order meanwhile, and all others go on.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self

from botyard.core.tasks import Tasks
from botyard.plugin.api import Inbound

# Bytes that wait here of one robot, and of all.
MOST_OF_ONE = 4 * 1024 * 1024
MOST = 64 * 1024 * 1024
# What a message counts beside its payload.
OVERHEAD = 500
# A line that brings messages faster than they find room waits for a robot until it has been here for so long: seconds.
PATIENCE = 1.0
# Robots that are let in at once, unless one of them takes longer than that.
AT_ONCE = 100
# Messages that are handed over at once.
SLICE = 200


class _Visitor:
    """What waits of one robot."""

    __slots__ = ("left", "messages", "since", "size")

    def __init__(self, since: float) -> None:
        self.messages: deque[Inbound] = deque()
        self.size = 0
        self.since = since
        self.left = asyncio.Event()


class Lobby:
    """Hands messages to `take_in`, those of one robot in their order, while its `async with` lasts."""

    def __init__(self, take_in: Callable[[Sequence[Inbound]], Awaitable[None]]) -> None:
        self._take_in = take_in
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

    async def receive(self, robot: str, message: Inbound) -> bool:
        """Let a message wait for its turn; False when there is no room for it.

        A robot that has just come gets a moment to leave again: its messages are many only because it is fast. One that
        has been here for longer waits for somebody who does not answer, and must not hold up the line.
        """
        while robot not in self._visitors and len(self._visitors) >= AT_ONCE:
            if not await self._has_left(next(iter(self._visitors.values()))):
                break
        if self._park(robot, message):
            return True
        if visitor := self._visitors.get(robot):
            await self._has_left(visitor)
        return self._park(robot, message)

    async def _has_left(self, visitor: _Visitor) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(visitor.since + PATIENCE):
                await visitor.left.wait()
        return visitor.left.is_set()

    def _park(self, robot: str, message: Inbound) -> bool:
        size = len(message.payload) + OVERHEAD
        visitor = self._visitors.get(robot)
        if self._size + size > MOST or (visitor is not None and visitor.size + size > MOST_OF_ONE):
            return False
        if visitor is None:
            visitor = self._visitors[robot] = _Visitor(asyncio.get_running_loop().time())
            self._tasks.start(self._let_in(robot, visitor), f"hub.ingest.lobby {robot[:64]}")
        visitor.messages.append(message)
        visitor.size += size
        self._size += size
        return True

    async def _let_in(self, robot: str, visitor: _Visitor) -> None:
        try:
            while visitor.messages:
                # many at once, or a robot that sends fast would fill this room while it is emptied
                some = [visitor.messages.popleft() for _ in range(min(SLICE, len(visitor.messages)))]
                await self._take_in(some)
                size = sum(len(message.payload) + OVERHEAD for message in some)
                visitor.size -= size
                self._size -= size
                await asyncio.sleep(0)
        finally:
            del self._visitors[robot]
            self._size -= visitor.size
            visitor.left.set()
