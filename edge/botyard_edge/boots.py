"""What is known of the clock in this boot of the robot's computer and in those before, in a small file.

The steady clock of a computer begins anew with each boot, so what was learned in one says nothing about another. But
an outbox lives through boots. The file remembers, beside it, how each boot's steady clock stood to the hub's; a later
process of the same boot begins with that instead of knowing nothing, and the hub is told of earlier boots whose
messages may still be on their way.

A boot in which the robot met no hub can only be estimated. Its own clock is believed if it agrees with the hub now, and
if what it said then fits between the boots before and after. Otherwise the boot is taken to have ended when the next
one began: times in it are right among each other, and too late by as long as the robot was off.
"""

import asyncio
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from botyard_edge.hubtime import Exchange, HubClock
from botyard_edge.pulse import UNWATCHED, Silent
from botyard_edge.timing import wait_event
from botyard_schemas.messages import BootTime

log = logging.getLogger(__name__)

# Boots that are remembered, this one included. What is still in an outbox after so many is of no known time.
REMEMBERED = 9

# The robot's own clock is believed about an earlier boot when it is right by this now: microseconds.
TRUSTED = 60_000_000

# How often it is written down where the clock is, once the hub has been met and before: seconds.
SAVE_KNOWN, SAVE_UNKNOWN = 3600.0, 60.0

# Linux names each boot: proc(5), /proc/sys/kernel/random/boot_id.
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Life(msgspec.Struct):
    """One boot: its steady clock when it was first and last looked at, the robot's own clock at the latter moment, and
    what the best exchange with a hub said (see `hubtime.Exchange`). All in microseconds."""

    boot: str
    began: int
    steady: int
    own: int
    ahead: int | None = None
    round_trip: int = 0


class _File(msgspec.Struct):
    robot: str
    boots: list[Life]
    version: Literal[1] = 1


class Boots:
    """The boots of one robot; reads and writes `path`, blocking (None: remembers nothing)."""

    def __init__(self, robot: str, path: Path | None) -> None:
        self._robot = robot
        self._path = path
        self._said = False
        self.lives: list[Life] = []

    def load(self, boot: str) -> Exchange | None:
        """Read the file; gives what an earlier process of this boot learned. A file that cannot be read is passed over:
        it only makes times better known."""
        if self._path is not None:
            try:
                known = msgspec.json.decode(self._path.read_bytes(), type=_File)
                self.lives = known.boots if known.robot == self._robot else []
            except FileNotFoundError:
                pass
            except (OSError, msgspec.DecodeError) as error:
                log.warning("%s cannot be read, so times of earlier boots are not known: %s", self._path, error)
        mine = next((life for life in self.lives if life.boot == boot), None)
        if mine is None or mine.ahead is None:
            return None
        return Exchange(mine.steady, mine.ahead, mine.round_trip)

    def note(self, clock: HubClock) -> None:
        """Take down where this boot is now."""
        steady, own = clock.own()
        life = next((life for life in self.lives if life.boot == clock.boot), None)
        if life is None:
            life = Life(clock.boot, steady, steady, own)
            self.lives = [*self.lives, life][-REMEMBERED:]
        life.steady, life.own = steady, own
        if clock.best is not None:
            life.ahead, life.round_trip = clock.best.ahead, clock.best.round_trip

    def save(self) -> None:
        """Write the file, whole or not at all."""
        if self._path is None:
            return
        content = msgspec.json.encode(_File(self._robot, self.lives))
        part = self._path.with_name(self._path.name + ".part")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self._path)
        except OSError as error:
            if not self._said:  # the outbox says in the robot's health when its disk fails
                log.warning("%s cannot be written: %s", self._path, error)
            self._said = True

    def earlier(self, clock: HubClock) -> Sequence[BootTime]:
        """What to tell the hub of the boots before this one, once the hub's time is known in this one."""
        others = [life for life in self.lives if life.boot != clock.boot]
        best, offset = clock.best, clock.offset
        now = next((life for life in self.lives if life.boot == clock.boot), None)
        if best is None or offset is None or now is None:
            return ()
        return estimated(others, began=best.ahead + now.began, trusted=abs(offset) <= TRUSTED)


def estimated(lives: Sequence[Life], *, began: int, trusted: bool) -> list[BootTime]:
    """How the steady clocks of these boots, the oldest first, stood to the hub's. The present one `began` at this hub
    time; `trusted`: the robot's own clock is right now."""
    found: list[BootTime] = []
    latest = began
    for at in range(len(lives) - 1, -1, -1):
        life = lives[at]
        ahead = life.ahead
        if ahead is None:
            before = next((one.ahead + one.steady for one in reversed(lives[:at]) if one.ahead is not None), 0)
            believed = trusted and before <= life.own <= latest
            ahead = (life.own if believed else latest) - life.steady
        found.append(BootTime(life.boot, max(0, ahead), estimated=life.ahead is None))
        latest = ahead + life.began
    return found[::-1]


async def keep(boots: Boots, clock: HubClock, pulse: Silent = UNWATCHED) -> None:
    """Write down what is known, for ever: soon again while it is little."""
    while True:
        known = clock.best is not None
        boots.note(clock)
        await asyncio.to_thread(boots.save)
        with pulse:
            if known:
                await clock.sleep(SAVE_KNOWN)
            else:
                await wait_event(clock.met, clock, SAVE_UNKNOWN)


def boot_id() -> str | None:
    """What this computer calls its present boot, None if it does not say."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip().replace("-", "") or None
    except (OSError, ValueError):
        return None
