"""Doors, lifts and docks of a site: one robot at a time, and each in its order.

Robots of one plan in one process share them. They compute their motion in blocks, one robot after the other, so a
facility remembers until when it was taken, on the steady clock that all of them go by: who asks for an earlier moment
is told to wait, although in the computation it is free again.
"""

import asyncio
import weakref
from collections.abc import Mapping

from botyard_plugins.sim.plan import Station

# Seconds that a door takes to open, and that a lift takes to come and to go.
OPENS = {"door": 3.0, "lift": 12.0}

KINDS = ("dock", *OPENS)


class Facilities:
    """Who has which door, lift or dock. Times are seconds of the steady clock."""

    def __init__(self, stations: Mapping[str, Station]) -> None:
        self._kinds = {name: station.kind for name, station in stations.items() if station.kind in KINDS}
        self._holder: dict[str, object] = {}
        self._since: dict[str, float] = {}
        self._free: dict[str, float] = {}

    def claim(self, name: str, who: object, at: float) -> bool:
        """Ask for it, as often as you like; whether `who` has it now."""
        holder = self._holder.get(name)
        if holder is None and at >= self._free.get(name, at):
            self._holder[name], self._since[name] = who, at
            return True
        return holder is who

    def open(self, name: str, who: object, at: float) -> bool:
        """Whether `who` has it and may go in."""
        return self._holder.get(name) is who and at >= self._since[name] + OPENS.get(self._kinds[name], 0.0)

    def leave(self, name: str, who: object, at: float) -> None:
        """It is free again from this moment on; nothing happens when somebody else has it."""
        if self._holder.get(name) is who:
            del self._holder[name]
            self._free[name] = at

    def taken(self, name: str, who: object, at: float) -> bool:
        """Whether somebody else has it."""
        holder = self._holder.get(name)
        return (holder is not None and holder is not who) or (holder is None and at < self._free.get(name, at))


_shared: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Facilities]] = weakref.WeakKeyDictionary()


def facilities(site: str, stations: Mapping[str, Station]) -> Facilities:
    """Those of a site, which all robots of the running event loop share."""
    of_loop = _shared.setdefault(asyncio.get_running_loop(), {})
    if site not in of_loop:
        of_loop[site] = Facilities(stations)
    return of_loop[site]
