"""Whether a robot is connected: a state machine per robot, moved by presence messages, data and time.

`TABLE` is the whole of it. Offline is two states, since they are left in different ways: who fell silent is back with
the first message, and who said goodbye is not, because that message may only have been under way. A retained `online`
is not in it: it says how often to expect something, and that was true once; a robot that is there is heard soon.
"""

import enum
from dataclasses import dataclass
from typing import Literal

from botyard_schemas import Presence

Status = Literal["online", "stale", "offline", "unknown"]
Reason = Literal["connected", "message", "silence", "stopped", "last_will", "socket_closed", "retired"]

# How often a robot that never told its interval is expected to say something: seconds.
DEFAULT_INTERVAL = 30.0
MISSED_HEARTBEATS = 3


class Standing(enum.Enum):
    """A state of the machine; `status` is what people are told."""

    UNKNOWN = "unknown"
    ONLINE = "online"
    STALE = "stale"
    LOST = "lost"
    LEFT = "left"

    @property
    def status(self) -> Status:
        """The state as the API says it."""
        return _STATUS[self]


class Sign(enum.Enum):
    """What moves the machine, in the words of the docs."""

    CONNECTED = "presence `online`"
    MESSAGE = "data over a transport that has presence messages"
    DATA = "data over a transport that has none (HTTP)"
    GOODBYE = "presence `offline` of the same session, of the first one, or retained"
    QUIET = "no sign of life for 3 heartbeat intervals"
    SILENT = "none for that and `fleet.offline_after` more"


_STATUS: dict[Standing, Status] = {
    Standing.UNKNOWN: "unknown",
    Standing.ONLINE: "online",
    Standing.STALE: "stale",
    Standing.LOST: "offline",
    Standing.LEFT: "offline",
}
# What an `offline` may give as its reason; anything else is no reason to leave, and counts as a clean end.
_FAREWELLS: dict[str, Reason] = {"last_will": "last_will", "socket_closed": "socket_closed", "retired": "retired"}
_AWAY = frozenset({Standing.LOST, Standing.LEFT})
_ALL_ONLINE = dict.fromkeys(Standing, Standing.ONLINE)
# Where each sign leads from each state. A goodbye of a robot that was lost already is the late last will of that loss.
TABLE: dict[Sign, dict[Standing, Standing]] = {
    Sign.CONNECTED: _ALL_ONLINE,
    Sign.MESSAGE: {**_ALL_ONLINE, Standing.LEFT: Standing.LEFT},
    Sign.DATA: _ALL_ONLINE,
    Sign.GOODBYE: {**dict.fromkeys(Standing, Standing.LEFT), Standing.LOST: Standing.LOST},
    Sign.QUIET: {**{one: one for one in Standing}, Standing.ONLINE: Standing.STALE},
    Sign.SILENT: {**dict.fromkeys(Standing, Standing.LOST), Standing.LEFT: Standing.LEFT},
}


@dataclass(slots=True)
class PresenceTracker:
    """Presence of one robot. Times `now` are seconds of a steady clock, `at` is microseconds since 1970.

    `reason` is why it is in this status: `connected` and `message` lead to online, `silence` to stale and offline, and
    `stopped` (a clean end), `last_will` (said by the broker), `socket_closed` (said by the hub's own WebSocket) and
    `retired` to offline. Every method says whether the status changed.
    """

    standing: Standing = Standing.UNKNOWN
    since: int | None = None
    reason: Reason | None = None
    session: str | None = None
    interval: float = DEFAULT_INTERVAL
    heard: float = 0.0

    @property
    def status(self) -> Status:
        """What people are told."""
        return self.standing.status

    def on_presence(self, presence: Presence, at: int, now: float, *, retained: bool = False) -> bool:
        """A presence message came in; `retained` says that the broker had kept it."""
        if presence.status == "online":
            self.interval = presence.interval or DEFAULT_INTERVAL
            if retained:
                return False
            self.session = presence.session
            self.heard = now
            return self._move(Sign.CONNECTED, "connected", at)
        if self.session is not None and presence.session != self.session and not retained:
            return False  # the late last will of a connection that has been replaced
        self.session = presence.session
        return self._move(Sign.GOODBYE, _FAREWELLS.get(presence.reason or "", "stopped"), at)

    def on_message(self, at: int, now: float, *, sessions: bool) -> bool:
        """Data came in; `sessions` says that its transport also carries presence messages."""
        self.heard = now
        if self.standing is Standing.ONLINE:  # nearly always
            return False
        return self._move(Sign.MESSAGE if sessions else Sign.DATA, "message", at)

    def overdue(self, now: float) -> bool:
        """Whether it is expected to speak and has been silent for too long; if not, `on_time` changes nothing."""
        return now - self.heard > MISSED_HEARTBEATS * self.interval and self.standing not in _AWAY

    def on_time(self, at: int, now: float, offline_after: float) -> bool:
        """Time has passed."""
        silent = now - self.heard
        patience = MISSED_HEARTBEATS * self.interval
        if silent <= patience:
            return False
        return self._move(Sign.SILENT if silent > patience + offline_after else Sign.QUIET, "silence", at)

    def on_retired(self, at: int) -> None:
        """The robot does not take part any more, whatever it says."""
        self.standing, self.reason, self.since, self.session = Standing.LEFT, "retired", at, None

    def on_returned(self, now: float) -> None:
        """It may take part again; whether it is there is not known yet."""
        self.standing, self.reason, self.since, self.session, self.heard = Standing.UNKNOWN, None, None, None, now

    def _move(self, sign: Sign, reason: Reason, at: int) -> bool:
        before, after = self.standing, TABLE[sign][self.standing]
        if after is before:
            return False
        self.standing, self.reason, self.since = after, reason, at
        return after.status != before.status
