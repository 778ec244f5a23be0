"""A supervised node: a coroutine in a task of its own, started anew after a failure, whose status everybody can see."""

import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from botyard_edge.driver import ConfigurationError, ConnectionLostError
from botyard_schemas.clock import Clock
from botyard_schemas.messages import NodeState, NodeStatus

log = logging.getLogger(__name__)

# As long as the contract allows in `nodes.*.error`.
ERROR_LENGTH = 1024

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


class Node:
    """Runs `work(ready)` until it returns. `work` calls `ready()` once it is at work; `on_change` hears all."""

    def __init__(
        self,
        name: str,
        work: Work,
        *,
        clock: Clock,
        rng: random.Random,
        on_change: Callable[[str, NodeState], None],
        backoff: Backoff = Backoff(),
    ) -> None:
        self.name = name
        self.state = NodeState(status="stopped", restarts=0)
        self._work = work
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._backoff = backoff

    async def run(self) -> None:
        """Work, and work again after failures, until the work returns (stopped) or cannot succeed (failed)."""
        failures = 0
        restarts = 0
        error: str | None = None
        while True:
            self._set("starting", restarts, error)
            began = self._clock.monotonic()
            try:
                await self._work(self._ready)
            except ConfigurationError as problem:
                log.error("%s cannot work: %s", self.name, problem)
                self._set("failed", restarts, _sentence(problem))
                return
            except Exception as problem:
                error = _sentence(problem)
                # A node that had been well for longer than the longest pause starts again from the shortest one.
                failures = 1 if self._clock.monotonic() - began > self._backoff.maximum else failures + 1
                pause = self._backoff.pause(failures, self._rng)
                quiet = isinstance(problem, ConnectionLostError)
                log.warning("%s failed and is started again in %.1f s: %s", self.name, pause, error, exc_info=not quiet)
                self._set("backoff", restarts, error)
                await self._clock.sleep(pause)
                restarts += 1
            else:
                self._set("stopped", restarts, None)
                return

    def _ready(self) -> None:
        self._set("running", self.state.restarts, self.state.error)

    def _set(self, status: NodeStatus, restarts: int, error: str | None) -> None:
        state = NodeState(status=status, restarts=restarts, error=error)
        if state != self.state:
            self.state = state
            self._on_change(self.name, state)


def _sentence(problem: BaseException) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    text = str(problem) or "no details"
    if not isinstance(problem, (ConfigurationError, ConnectionLostError)):
        text = f"{type(problem).__name__}: {text}"
    return text[:ERROR_LENGTH]
