"""Signs of life of a node, on the bus: `nodes/<name>/heartbeat` holds the steady clock's seconds of the latest one."""

import asyncio
from typing import Any

from botyard_edge.bus import Bus
from botyard_schemas.clock import Clock, loop_seconds

# A watch that wakes up later than this, in parts of the silence that is allowed, says nothing of the node: the whole
# process stood still, and the node had no chance to show a sign of life either.
LATE = 0.1

# Rounds of the event loop in which a node whose own timer ended together with the watch's can still speak.
ROUNDS = 4


class HangError(Exception):
    """A node has shown no sign of life for too long."""


class Silent:
    """The signs of life of what nobody watches."""

    def __enter__(self) -> None: ...
    def __exit__(self, *exc: object) -> None: ...

    def beat(self) -> None:
        """Do nothing."""


UNWATCHED = Silent()


class Pulse(Silent):
    """One node's heartbeat. `hang_after`: how many seconds of silence mean that it hangs; None: it may be silent.

    As a context manager: what runs inside may take as long as it likes: the wait for something to do, or the runtime's
    own work for a driver (room in the outbox, for one). No time passes meanwhile, and the end of it is a sign of life.
    """

    def __init__(self, name: str, bus: Bus, clock: Clock, hang_after: float | None = None) -> None:
        self.topic = f"nodes/{name}/heartbeat"
        self._bus = bus
        self._clock = clock
        self._hang_after = hang_after
        self._inside = 0

    def __enter__(self) -> None:
        self._inside += 1

    def __exit__(self, *exc: object) -> None:
        self._inside -= 1
        self.beat()

    def beat(self) -> None:
        """Show a sign of life."""
        self._bus.publish(self.topic, self._clock.monotonic())

    async def watch(self, task: "asyncio.Task[Any]") -> None:
        """Wait for the task's end, and raise HangError when it falls silent before. Begins with a sign of life."""
        if self._hang_after is None:
            await asyncio.wait([task])
            return
        self.beat()
        due = self._clock.monotonic() + self._hang_after
        while not await ended_within(task, self._clock, due - self._clock.monotonic()):
            now = self._clock.monotonic()
            for _ in range(ROUNDS):
                await asyncio.sleep(0)
            if self._inside or now - due > LATE * self._hang_after:
                due = now + self._hang_after
                continue
            # Whoever publishes it: a helper process of the driver may, too.
            due = self._bus.latest(self.topic) + self._hang_after
            if due <= now:
                raise HangError(f"it hangs: no sign of life for {self._hang_after:g} s")


async def ended_within(task: "asyncio.Task[Any]", clock: Clock, seconds: float) -> bool:
    """Wait for the task's end, at most so many seconds of the clock. Returns whether it has ended."""
    if not task.done() and (own := loop_seconds(clock, seconds)) is not None:
        await asyncio.wait([task], timeout=max(0.0, own))
    elif not task.done() and seconds > 0:
        timer = asyncio.create_task(clock.sleep(seconds), name="edge.wait.clock")
        try:
            await asyncio.wait([task, timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            await asyncio.gather(timer, return_exceptions=True)
    return task.done()
