"""The presence of a robot, against the table in `botyard.fleet.presence`."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from botyard.fleet.presence import DEFAULT_INTERVAL, MISSED_HEARTBEATS, PresenceTracker
from botyard_schemas import Presence

OFFLINE_AFTER = 30.0
SESSIONS = st.sampled_from(["a", "b", "c"])


class PresenceMachine(RuleBasedStateMachine):
    """Does to a tracker what robots and time do, and keeps beside it what the table says."""

    def __init__(self) -> None:
        super().__init__()
        self.tracker = PresenceTracker()
        self.status, self.reason, self.since = "unknown", None, None
        self.session: str | None = None
        self.interval, self.heard, self.now = DEFAULT_INTERVAL, 0.0, 0.0

    @property
    def at(self) -> int:
        return 1_763_712_000_000_000 + round(self.now * 1e6)

    def becomes(self, status: str, reason: str, changed: bool) -> None:
        """The table wants this; did the tracker do it, and say whether it is news?"""
        assert changed == (status != self.status)
        if changed:
            self.status, self.reason, self.since = status, reason, self.at  # type: ignore[assignment]

    @rule(session=SESSIONS, interval=st.none() | st.floats(0.1, 100))
    def says_online(self, session: str, interval: float | None) -> None:
        changed = self.tracker.on_presence(Presence("online", session, interval=interval), self.at, self.now)
        self.session, self.interval, self.heard = session, interval or DEFAULT_INTERVAL, self.now
        self.becomes("online", "connected", changed)

    @rule(session=SESSIONS, reason=st.sampled_from(["stopped", "last_will"]))
    def says_offline(self, session: str, reason: str) -> None:
        changed = self.tracker.on_presence(Presence("offline", session, reason=reason), self.at, self.now)  # type: ignore[arg-type]
        if self.session not in (None, session):
            assert not changed  # the late last will of a connection that has been replaced
            return
        self.session = session
        self.becomes("offline", reason, changed)

    @rule(session=SESSIONS, interval=st.none() | st.floats(0.1, 100))
    def is_remembered_as_online(self, session: str, interval: float | None) -> None:
        said = Presence("online", session, interval=interval)
        assert not self.tracker.on_presence(said, self.at, self.now, retained=True)
        self.interval = interval or DEFAULT_INTERVAL

    @rule(session=SESSIONS)
    def is_remembered_as_offline(self, session: str) -> None:
        said = Presence("offline", session, reason="last_will")
        changed = self.tracker.on_presence(said, self.at, self.now, retained=True)
        self.session = session
        self.becomes("offline", "last_will", changed)

    @rule(sessions=st.booleans())
    def sends_data(self, sessions: bool) -> None:
        changed = self.tracker.on_message(self.at, self.now, sessions=sessions)
        self.heard = self.now
        said_goodbye = self.status == "offline" and self.reason != "silence"
        if said_goodbye and sessions:
            assert not changed
        else:
            self.becomes("online", "message", changed)

    @rule(seconds=st.floats(0.01, 200))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        overdue, before = self.tracker.overdue(self.now), self.tracker.standing
        changed = self.tracker.on_time(self.at, self.now, OFFLINE_AFTER)
        assert overdue or (not changed and self.tracker.standing is before)
        silent, patience = self.now - self.heard, MISSED_HEARTBEATS * self.interval
        if silent > patience + OFFLINE_AFTER:
            self.becomes("offline", "silence", changed)
        elif silent > patience and self.status == "online":
            self.becomes("stale", "silence", changed)
        else:
            assert not changed

    @invariant()
    def is_what_the_table_says(self) -> None:
        found = (self.tracker.status, self.tracker.reason, self.tracker.since)
        assert found == (self.status, self.reason, self.since)


TestPresence = PresenceMachine.TestCase


def test_presence_last_will_of_an_old_session_is_ignored() -> None:
    tracker = PresenceTracker()
    tracker.on_presence(Presence("online", "old"), 1, 1.0)
    tracker.on_presence(Presence("online", "new"), 2, 2.0)
    assert not tracker.on_presence(Presence("offline", "old", reason="last_will"), 3, 3.0)
    assert tracker.status == "online"
    assert tracker.on_presence(Presence("offline", "new", reason="last_will"), 4, 4.0)
    assert (tracker.status, tracker.reason, tracker.since) == ("offline", "last_will", 4)


def test_presence_data_that_was_under_way_does_not_bring_back_who_said_goodbye() -> None:
    tracker = PresenceTracker()
    tracker.on_presence(Presence("online", "s"), 1, 1.0)
    tracker.on_presence(Presence("offline", "s", reason="stopped"), 2, 2.0)
    assert not tracker.on_message(3, 3.0, sessions=True)
    assert tracker.on_message(4, 4.0, sessions=False)
    assert tracker.status == "online"
