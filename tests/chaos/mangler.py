"""Doubles and reorders messages of one MQTT connection, and keeps the protocol valid.

What comes out is what a network of several brokers, or a client that repeats itself, may bring about: every packet is
whole, nothing comes after a goodbye, and whoever sent a message at QoS 1 hears one PUBACK for it, also when the other
side got it twice and confirmed it twice.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.packets import (
    DISCONNECT,
    PUBACK,
    PUBLISH,
    Publish,
    acknowledged_by,
    kind_of,
    read_publish,
)

# A message is held back until so many others have passed, or so many seconds.
PASSES = (1, 10)
SECONDS = (0.02, 0.6)
MAX_HELD = 200


@dataclass(frozen=True, slots=True)
class Mangling:
    """Shares of the messages to double and to hold back."""

    duplicate: float = 0.0
    reorder: float = 0.0


NONE = Mangling()


@dataclass(slots=True)
class _Held:
    packet: bytes
    passes: int
    due: float
    copy_of: int = 0


class Mangler:
    """One direction. `extra` counts copies at QoS 1 that went this way, by identifier; `extra_back` those of the other
    direction, whose confirmations come this way. `version` is that of MQTT, 4 for 3.1.1. `now` is in seconds of any
    steady clock."""

    def __init__(self, rng: random.Random, extra: Counter[int], extra_back: Counter[int]) -> None:
        self.counts: Counter[str] = Counter()
        self.version = 4
        self._rng = rng
        self._extra = extra
        self._extra_back = extra_back
        self._held: list[_Held] = []

    def feed(self, packet: bytes, mangling: Mangling, now: float) -> list[bytes]:
        """Take in a packet; gives what goes on now."""
        kind = kind_of(packet)
        if kind == PUBLISH:
            return self._publish(packet, mangling, now)
        if kind == DISCONNECT:
            return [*self.flush(), packet]
        if kind == PUBACK and self._extra_back[acknowledged_by(packet)] > 0:
            self._extra_back[acknowledged_by(packet)] -= 1
            return []
        return [packet]

    def tick(self, now: float) -> list[bytes]:
        """What was held back for long enough."""
        return self._release(lambda held: held.due <= now)

    def flush(self) -> list[bytes]:
        """Everything that is held back."""
        return self._release(lambda _: True)

    def _publish(self, packet: bytes, mangling: Mangling, now: float) -> list[bytes]:
        before = len(self._held)
        out = []
        room = before < MAX_HELD
        if room and self._rng.random() < mangling.reorder:
            self.counts["held back"] += 1
            self._hold(packet, now)
        else:
            out.append(packet)
        if room and self._rng.random() < mangling.duplicate:
            self._double(read_publish(packet, self.version), now)
        for held in self._held[:before]:
            held.passes -= 1
        return out + self._release(lambda held: held.passes <= 0)

    def _double(self, message: Publish, now: float) -> None:
        if message.qos == 2:
            return  # exactly once is between the two sides
        self.counts["doubled"] += 1
        if message.qos == 1 and self._rng.random() < 0.5:
            self._hold(message._replace(dup=True).encode(), now, copy_of=message.identifier)
        else:
            self._hold(as_qos0(message), now)

    def _hold(self, packet: bytes, now: float, copy_of: int = 0) -> None:
        self._held.append(_Held(packet, self._rng.randint(*PASSES), now + self._rng.uniform(*SECONDS), copy_of))

    def _release(self, ripe: Callable[[_Held], bool]) -> list[bytes]:
        released = [held for held in self._held if ripe(held)]
        self._held = [held for held in self._held if not ripe(held)]
        for held in released:
            if held.copy_of:
                self._extra[held.copy_of] += 1
        return [held.packet for held in released]


def as_qos0(message: Publish) -> bytes:
    """The message as one that nobody confirms, so that it can be sent at any time."""
    return message._replace(qos=0, identifier=0, dup=False, retain=False).encode()
