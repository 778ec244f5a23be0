"""Corrects the stamps of messages that robots made before they knew the hub's time.

Such a message says in `unsynced` which boot of the robot it comes from, and what the steady clock of that boot said. A
steady clock never jumps, so all it takes is how it stands to the hub's:

* A request for the time (`time`) holds the steady clock at its sending. It arrived later than that, so hub time minus
  steady time is at most arrival minus sending; the least of several is off by no more than that way's delay.
* As soon as the robot has measured it both ways, it says so in its next request (`ahead`), and that counts.
* Of earlier boots it says what it knows, or how it estimates them (`boots`).

A message whose boot has not been heard of yet is not taken in and not refused: the robot sends it again. One of a boot
that the robot itself cannot place keeps the robot's own raw time, and so does not pretend to be corrected.
"""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from botyard.core.actor import HUB
from botyard.store.base import EventRow
from botyard_schemas import Envelope, Time

# Boots that are remembered of one robot.
MAX_BOOTS = 16


class Anchor(NamedTuple):
    """Hub time minus a boot's steady clock, in microseconds, and how that is known."""

    ahead: int
    how: str


class Uncertain(NamedTuple):
    """Stamps of this boot of a robot are no more than an estimate; `ahead` None: they are its own raw time."""

    robot: str
    boot: str
    ahead: int | None


class _Robot:
    """What one robot said of its clocks."""

    __slots__ = ("anchors", "said", "told")

    def __init__(self) -> None:
        self.told = False  # of earlier boots, which it does once it knows the hub's time itself
        self.anchors: dict[str, Anchor] = {}
        self.said: set[str] = set()


class Correction:
    """`on_uncertain` hears once of each boot whose stamps cannot be made right."""

    def __init__(self, on_uncertain: Callable[[Uncertain], None] = lambda _: None) -> None:
        self._on_uncertain = on_uncertain
        self._robots: dict[str, _Robot] = {}

    def learn(self, robot: str, request: Time, received: int) -> None:
        """A robot that was let in has asked for the time; the request arrived at `received`, in microseconds."""
        if request.boot is None or request.steady is None:
            return  # a robot that stamps in hub time from the first message on
        known = self._robots.setdefault(robot, _Robot())
        known.told = known.told or request.ahead is not None
        before = known.anchors.pop(request.boot, None)
        if request.ahead is not None:
            now = Anchor(request.ahead, "measured")
        else:
            now = Anchor(received - request.steady, "heard")
            if before is not None and (before.how == "measured" or before.ahead < now.ahead):
                now = before
        for boot in request.boots:
            if boot.boot != request.boot:
                known.anchors[boot.boot] = Anchor(boot.ahead, "estimated" if boot.estimated else "measured")
        known.anchors[request.boot] = now
        while len(known.anchors) > MAX_BOOTS:
            oldest = next(iter(known.anchors))
            del known.anchors[oldest]
            known.said.discard(oldest)

    def correct(self, envelope: Envelope) -> Envelope | None:
        """The message in hub time; None while it is not known how to make it so. Synced messages come back as they
        are."""
        mark = envelope.unsynced
        if mark is None:
            return envelope
        known = self._robots.get(envelope.robot)
        if known is None:
            return None
        anchor = known.anchors.get(mark.boot)
        if anchor is None and not known.told:
            return None
        if anchor is None:
            self._say(known, Uncertain(envelope.robot, mark.boot, None))
            raw = envelope.ts if envelope.robot_ts is None else envelope.robot_ts
            return msgspec.structs.replace(envelope, ts=raw, unsynced=None)
        if anchor.how == "estimated":
            self._say(known, Uncertain(envelope.robot, mark.boot, anchor.ahead))
        return msgspec.structs.replace(envelope, ts=max(0, anchor.ahead + mark.steady), unsynced=None)

    def forget(self, robot: str) -> None:
        """Drop everything about a robot."""
        self._robots.pop(robot, None)

    def _say(self, known: _Robot, uncertain: Uncertain) -> None:
        if uncertain.boot not in known.said and len(known.said) < MAX_BOOTS:
            known.said.add(uncertain.boot)
            self._on_uncertain(uncertain)


def uncertain_row(uncertain: Uncertain, now: int) -> EventRow:
    """The event that says so."""
    if uncertain.ahead is None:
        how = "nothing is known of that boot, so its messages keep the robot's own time"
    else:
        how = "the robot met no hub in that boot, so its times are estimated"
    return EventRow(
        ts=now,
        robot=uncertain.robot,
        actor=str(HUB),
        name="robot.time_uncertain",
        severity="warning",
        message=f"messages of boot {uncertain.boot} have no certain time: {how}",
        data={"boot": uncertain.boot, "ahead": uncertain.ahead},
    )
