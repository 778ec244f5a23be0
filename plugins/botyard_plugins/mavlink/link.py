"""The talk with one vehicle: who it is, what it says, and what is said to it."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botyard_edge.timing import wait_event
from botyard_plugins.mavlink.framing import Framer
from botyard_plugins.mavlink.wires import GoneError, Wire
from botyard_schemas.clock import Clock

MAX_WAITING = 64  # messages that somebody waits for; of more, the oldest go
MAX_SENDERS = 16


class SilentError(Exception):
    """The vehicle is not there, or does not answer; says so."""


class Mailbox:
    """Messages of some kinds from the vehicle, in the order of their coming."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._messages: deque[Any] = deque(maxlen=MAX_WAITING)
        self._some = asyncio.Event()

    def put(self, message: Any) -> None:
        """A message has come."""
        self._messages.append(message)
        self._some.set()

    async def next(self, seconds: float) -> Any:
        """The next message; None when none comes within so many seconds."""
        if not self._messages:
            self._some.clear()
            await wait_event(self._some, self._clock, seconds)
        return self._messages.popleft() if self._messages else None


class Link:
    """Sends in our name, and hears one vehicle: the first autopilot that is heard, or the one with the number `system`.

    Outlives the wire: while there is none, sending raises SilentError.
    """

    def __init__(
        self, dialect: Any, clock: Clock, *, system: int | None, component: int, own_system: int, own_component: int
    ) -> None:
        self.dialect = dialect
        self.clock = clock
        self.component = component
        self.own = (own_system, own_component)
        self.strangers: set[int] = set()
        self.heard_bytes = 0
        self.heard_messages = 0
        self.last_heartbeat: float | None = None
        self._wanted = system
        self._system = system
        self._encoder = dialect.MAVLink(None, own_system, own_component)
        self._wire: Wire | None = None
        self._framers: dict[Any, Framer] = {}
        self._boxes: list[tuple[frozenset[str], Mailbox]] = []
        self._lock = threading.Lock()

    @property
    def system(self) -> int:
        """The vehicle's number. Raises SilentError while it is not known."""
        if self._system is None:
            raise SilentError("no vehicle has been heard")
        return self._system

    @property
    def target(self) -> tuple[int, int]:
        """System and component that messages are for. Raises SilentError."""
        return self.system, self.component

    @property
    def present(self) -> bool:
        """Whether the vehicle is there."""
        return self._wire is not None and self.last_heartbeat is not None

    def send(self, message: Any) -> None:
        """Send it, in any thread; whether it arrives is another matter. Raises SilentError, GoneError."""
        wire = self._wire
        if wire is None:
            raise SilentError("the vehicle is not connected")
        with self._lock:
            frame = message.pack(self._encoder)
            self._encoder.seq = (self._encoder.seq + 1) % 256
        wire.write(frame)

    @contextmanager
    def listen(self, *kinds: str) -> Iterator[Mailbox]:
        """From now on, messages of these kinds from the vehicle."""
        entry = (frozenset(kinds), Mailbox(self.clock))
        self._boxes.append(entry)
        try:
            yield entry[1]
        finally:
            self._boxes = [one for one in self._boxes if one is not entry]

    async def read(self, wire: Wire, hear: Callable[[Any], None]) -> None:
        """Hear what comes over the wire until it ends: everything of the vehicle goes to `hear`. Raises GoneError."""
        self._begin(wire)
        try:
            while True:
                data, sender = await wire.read()
                self.heard_bytes += len(data)
                for message in self._framer(sender).feed(data):
                    self.heard_messages += 1
                    if self._ours(message, wire, sender):
                        hear(message)
                        for kinds, box in self._boxes:
                            if message.get_type() in kinds:
                                box.put(message)
        finally:
            self._wire = None
            self.last_heartbeat = None

    def forget(self) -> None:
        """The vehicle has fallen silent; another one may come unless its number was given."""
        self.last_heartbeat = None
        self._system = self._wanted

    def _begin(self, wire: Wire) -> None:
        self._wire = wire
        self._framers.clear()
        self.strangers.clear()
        self.heard_bytes = self.heard_messages = 0
        self.forget()

    def _framer(self, sender: Any) -> Framer:
        if (framer := self._framers.get(sender)) is None:
            while len(self._framers) >= MAX_SENDERS:
                del self._framers[next(iter(self._framers))]
            framer = self._framers[sender] = Framer(self.dialect)
        return framer

    def _ours(self, message: Any, wire: Wire, sender: Any) -> bool:
        system = message.get_srcSystem()
        if message.get_type() == "HEARTBEAT" and self._is_autopilot(message):
            if self._system is None:
                self._system = system
            if system == self._system:
                wire.answer(sender)
                self.last_heartbeat = self.clock.monotonic()
            elif len(self.strangers) < MAX_SENDERS:
                self.strangers.add(system)
        return bool(system == self._system and message.get_srcComponent() == self.component)

    def _is_autopilot(self, message: Any) -> bool:
        dialect = self.dialect
        return bool(
            message.get_srcComponent() == self.component
            and message.autopilot != dialect.MAV_AUTOPILOT_INVALID
            and message.type != dialect.MAV_TYPE_GCS
        )


__all__ = ["GoneError", "Link", "Mailbox", "SilentError"]
