"""Whether a robot is connected: a small state machine per robot, moved by presence messages, data and time.

| from                   | on                                             | to      | reason             |
| ---------------------- | ---------------------------------------------- | ------- | ------------------ |
| any                    | presence `online`                              | online  | connected          |
| any                    | data over a transport without presence         | online  | message            |
| unknown, stale         | any data                                       | online  | message            |
| offline by silence     | any data                                       | online  | message            |
| online                 | silence of 3 heartbeat intervals               | stale   | silence            |
| unknown, online, stale | silence of that and `offline_after` more       | offline | silence            |
| unknown, online, stale | presence `offline` of this session, or the first | offline | stopped, last_will |
| unknown, online, stale | a retained `offline` of any session             | offline | stopped, last_will |

A retained `online` says only how often to expect something: it was true once, and a robot that is there is heard soon.
"""

from dataclasses import dataclass
from typing import Literal

from botyard_schemas import Presence

Status = Literal["online", "stale", "offline", "unknown"]

# How often a robot that never told its interval is expected to say something: seconds.
DEFAULT_INTERVAL = 30.0
MISSED_HEARTBEATS = 3


@dataclass(slots=True)
class PresenceTracker:
    """Presence of one robot. Times `now` are seconds of a steady clock, `at` is microseconds since 1970.

    Every method says whether the status changed.
    """

    status: Status = "unknown"
    since: int | None = None
    reason: str | None = None
    session: str | None = None
    interval: float = DEFAULT_INTERVAL
    heard: float = 0.0

    def on_presence(self, presence: Presence, at: int, now: float, *, retained: bool = False) -> bool:
        """A presence message came in; `retained` says that the broker had kept it."""
        if retained and presence.status == "online":
            self.interval = presence.interval or DEFAULT_INTERVAL
            return False
        if presence.status == "online":
            self.session = presence.session
            self.interval = presence.interval or DEFAULT_INTERVAL
            self.heard = now
            return self._become("online", "connected", at)
        if self.session is not None and presence.session != self.session and not retained:
            return False  # the late last will of a connection that has been replaced
        self.session = presence.session
        return self._become("offline", presence.reason or "stopped", at)

    def on_message(self, at: int, now: float, *, sessions: bool) -> bool:
        """Data came in; `sessions` says that its transport also carries presence messages.

        There, data of a robot that said goodbye may have been under way, and does not bring it back.
        """
        self.heard = now
        if self.status == "online" or (sessions and self.status == "offline" and self.reason != "silence"):
            return False
        return self._become("online", "message", at)

    def on_time(self, at: int, now: float, offline_after: float) -> bool:
        """Time has passed."""
        silent = now - self.heard
        patience = MISSED_HEARTBEATS * self.interval
        if self.status != "offline" and silent > patience + offline_after:
            return self._become("offline", "silence", at)
        if self.status == "online" and silent > patience:
            return self._become("stale", "silence", at)
        return False

    def _become(self, status: Status, reason: str, at: int) -> bool:
        if status == self.status:
            return False
        self.status, self.reason, self.since = status, reason, at
        return True
