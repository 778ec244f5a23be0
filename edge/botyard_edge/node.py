"""A supervised node: a coroutine in a task of its own, started anew after a failure; all can see its status.

A node that shows signs of life (`pulse.Pulse`) may also be watched: when it falls silent for longer than it declared,
it is cancelled and started anew, and if it does not even end when cancelled it is abandoned. No other node notices.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from botyard_edge.driver import ConfigurationError, ConnectionLostError
from botyard_edge.pulse import HangError, Pulse, ended_within
from botyard_schemas.clock import Clock
from botyard_schemas.messages import NodeReason, NodeState, NodeStatus

log = logging.getLogger(__name__)

# As long as the contract allows in `nodes.*.error`.
ERROR_LENGTH = 1024

# Seconds within which a node has to end once it is cancelled. Past them it is abandoned.
END_WITHIN = 5.0

Work = Callable[[Callable[[], None]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that double from `minimum` to `maximum`, of which up to half is random."""

    minimum: float = 1.0
    maximum: float = 30.0

    def pause(self, failures: int, rng: random.Random) -> float:
        """The pause after the n-th failure in a row (from 1)."""
        full = min(self.maximum, self.minimum * 2.0 ** min(failures - 1, 60))
        return full * (0.5 + 0.5 * rng.random())


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How a node is started again. More than `failures` (None: any number) within `within` seconds, and it is not. One
    that has worked for `healthy_after` seconds counts as healthy: its next pause is the shortest one again.

    Lost connections are not counted: a device that is unplugged for a day is no reason to give its driver up.
    """

    backoff: Backoff = Backoff()
    failures: int | None = 30
    within: float = 3600.0
    healthy_after: float = 30.0


class Node:
    """Runs `work(ready)` until it returns. `work` calls `ready()` once it is at work; `on_change` hears all.

    With a `pulse` the work is a task of its own. `on_hung` hears that it hangs before it is told to end, which it need
    not do: `on_abandoned` hears of that.
    """

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        clock: Clock,
        rng: random.Random,
        on_change: Callable[[str, NodeState], None],
        policy: RestartPolicy = RestartPolicy(),
        pulse: Pulse | None = None,
        on_hung: Callable[[], None] = lambda: None,
        on_abandoned: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self.state = NodeState(status="stopped", restarts=0)
        self._work = work
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._policy = policy
        self._pulse = pulse
        self._on_hung = on_hung
        self._on_abandoned = on_abandoned
        self._abandoned: set[asyncio.Task[None]] = set()
        self._ready_since: float | None = None
        self._in_a_row = 0
        self._counted: deque[float] = deque()

    @property
    def abandoned(self) -> bool:
        """Whether something of it still runs although it was told to end."""
        return bool(self._abandoned)

    async def run(self) -> None:
        """Work, and work again after failures, until the work returns (stopped) or cannot succeed (failed)."""
        restarts = 0
        error: str | None = None
        reason: NodeReason | None = None
        while True:
            self._ready_since = None
            self._set("starting", restarts, error, reason)
            try:
                await (self._work(self._ready) if self._pulse is None else self._watched(self._pulse))
            except Exception as problem:
                error, reason = _sentence(problem), _reason(problem)
                if given_up := self._given_up(problem, reason):
                    error, reason = given_up
                    log.error("%s cannot work: %s", self.name, error)
                    self._set("failed", restarts, error, reason)
                    return
                pause = self._policy.backoff.pause(self._in_a_row, self._rng)
                quiet = isinstance(problem, ConnectionLostError | HangError)
                log.warning("%s failed and is started again in %.1f s: %s", self.name, pause, error, exc_info=not quiet)
                self._set("backoff", restarts, error, reason)
                await self._clock.sleep(pause)
                restarts += 1
            else:
                self._set("stopped", restarts, None, None)
                return

    def _given_up(self, problem: Exception, reason: NodeReason) -> tuple[str, NodeReason] | None:
        """Count a failure. What is to be said when the node is not started again, else None."""
        if reason == "configuration":
            return _sentence(problem), reason
        policy, now = self._policy, self._clock.monotonic()
        healthy = self._ready_since is not None and now - self._ready_since >= policy.healthy_after
        self._in_a_row = 1 if healthy else self._in_a_row + 1
        if reason == "connection" or policy.failures is None:
            return None
        self._counted.append(now)
        while now - self._counted[0] > policy.within:
            self._counted.popleft()
        if (count := len(self._counted)) <= policy.failures:
            return None
        told = f"it failed {count} times within {policy.within:g} s, the last time with: {_sentence(problem)}"
        return told[:ERROR_LENGTH], "budget"

    async def _watched(self, pulse: Pulse) -> None:
        """Work in a task of its own. Raises what it raises, or HangError."""
        task = asyncio.create_task(_awaited(self._work(self._ready)), name=f"edge.{self.name}.work")
        try:
            await pulse.watch(task)
        except BaseException as problem:
            if isinstance(problem, HangError):
                self._on_hung()
            if not await self._ended(task):
                self._abandon(task)
            raise
        task.result()

    async def _ended(self, task: "asyncio.Task[None]") -> bool:
        """Cancel the work; whether it ended."""
        if not task.done():
            task.cancel()
        if not await ended_within(task, self._clock, END_WITHIN):
            return False
        if not task.cancelled() and (problem := task.exception()) is not None:
            log.warning("%s failed while it was ended: %s", self.name, _sentence(problem))
        return True

    def _abandon(self, task: "asyncio.Task[None]") -> None:
        log.error("%s did not end within %g s of being told to, and is abandoned", self.name, END_WITHIN)
        self._abandoned.add(task)  # the event loop itself holds no task
        task.add_done_callback(self._ended_late)
        self._on_abandoned()

    def _ended_late(self, task: "asyncio.Task[None]") -> None:
        self._abandoned.discard(task)
        problem = None if task.cancelled() else task.exception()
        log.info("what was abandoned of %s has ended%s", self.name, f": {_sentence(problem)}" if problem else "")

    def _ready(self) -> None:
        self._ready_since = self._clock.monotonic()
        self._set("running", self.state.restarts, self.state.error, self.state.reason)

    def _set(self, status: NodeStatus, restarts: int, error: str | None, reason: NodeReason | None) -> None:
        state = NodeState(status, restarts, error, reason)
        if state != self.state:
            self.state = state
            self._on_change(self.name, state)


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _root(problem: BaseException) -> BaseException:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


def _reason(problem: BaseException) -> NodeReason:
    problem = _root(problem)
    if isinstance(problem, ConfigurationError):
        return "configuration"
    if isinstance(problem, ConnectionLostError):
        return "connection"
    return "hang" if isinstance(problem, HangError) else "error"


def _sentence(problem: BaseException) -> str:
    problem = _root(problem)
    text = str(problem) or "no details"
    if not isinstance(problem, (ConfigurationError, ConnectionLostError, HangError)):
        text = f"{type(problem).__name__}: {text}"
    return text[:ERROR_LENGTH]
