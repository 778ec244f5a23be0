"""Whether the event loop is alive, seen from a thread with a steady clock of its own."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Literal

log = logging.getLogger(__name__)

Finding = Literal["ask", "blocked", "stalled"]
# Looks within the time in which a blocked loop must be found.
LOOKS = 5


class LoopWatch:
    """The judgement alone, without thread and clock: `step` is called every `period` seconds, `beat` by the loop."""

    def __init__(self, within: float) -> None:
        self.within = within
        self.period = within / LOOKS
        self.blocked = False
        self._asked: float | None = None
        self._looked: float | None = None

    def step(self, now: float) -> Finding | None:
        """`ask`: have the loop call `beat`. `blocked`: it did not. `stalled`: this was not called in time itself."""
        looked, self._looked = self._looked, now
        if looked is not None and now - looked > self.within:
            self._asked = now  # the loop could not answer either
            return "stalled"
        if self._asked is None:
            self._asked = now
            return "ask"
        if not self.blocked and now - self._asked >= self.within - 2 * self.period - 1e-9:
            self.blocked = True
            return "blocked"
        return None

    def beat(self) -> bool:
        """The loop is alive; gives whether it was found blocked before."""
        self._asked = None
        was, self.blocked = self.blocked, False
        return was


class Watchdog:
    """The thread. `ask` hands a function to the loop from this thread; `on_blocked` and `on_stalled` are called in it,
    with a sentence, `on_back` in the loop."""

    def __init__(
        self,
        within: float,
        *,
        ask: Callable[[Callable[[], None]], object],
        on_blocked: Callable[[str], None],
        on_back: Callable[[], None],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch = LoopWatch(within)
        self._ask = ask
        self._on_blocked = on_blocked
        self._on_back = on_back
        self._steady = steady
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edge.safety", daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()

    def step(self) -> None:
        """Look once."""
        with self._lock:
            finding = self._watch.step(self._steady())
        if finding == "ask":
            self._ask(self._beat)
        elif finding == "blocked":
            self._on_blocked(f"the event loop has been blocked for about {self._watch.within:g} s")
        elif finding == "stalled":
            self._on_blocked(f"the edge's process did not run for more than {self._watch.within:g} s")
            self._ask(self._beat)

    def _beat(self) -> None:
        with self._lock:
            self._watch.beat()
        self._on_back()

    def _run(self) -> None:
        while not self._end.wait(self._watch.period):
            try:
                self.step()
            except Exception:  # this thread must not end while the robot may move
                if not self._end.is_set():
                    log.exception("the watchdog of the event loop failed")
