"""What is sent next: live data at once, the backlog at the pace that the way to the hub takes (see `pace`), and again
what was not acknowledged in time.

The hub acknowledges in order: everything up to a number. So the oldest messages are what brings it forward; they are
sent in order within a window. While more than a window waits, new messages are sent ahead of it, within a share of the
window for each acknowledgement that is heard. What was sent ahead is passed over when the window comes to it.

The hub keeps account of what came out of order in a bounded number of separate ranges, and names them in its
acknowledgements. Each message that was sent ahead and is in none of them may end as one of its own, and each range of a
notice is one; so both are bounded here. What the hub names is only passed over, never forgotten: the next
acknowledgement may name less.
"""

import asyncio
from collections.abc import Iterable, Sequence

from botyard_edge.outbox import Entry, Outbox
from botyard_edge.pace import PACE, BacklogPace, Pace
from botyard_edge.pulse import UNWATCHED, Silent
from botyard_edge.ranges import Span, within
from botyard_edge.timing import wait_event
from botyard_edge.transport import Session
from botyard_schemas import topics
from botyard_schemas.clock import Clock

# Messages that may be sent ahead of the window without a word of the hub about them. When half of them are, or the hub
# names `SCATTERED` ranges, only states are sent ahead, one every `SPARSE` seconds, so that the robot stays visible.
AHEAD = 400
SCATTERED = 64
SPARSE = 5.0

# Messages of the backlog that are sent before live ones have their turn again.
TURN = 8

# Seconds without progress after which a message that was sent long ago is taken for lost.
STALL = 1.0


class Sender:
    """Chooses and sends, session after session."""

    def __init__(
        self,
        robot: str,
        outbox: Outbox,
        *,
        clock: Clock,
        window: int,
        resend_after: float,
        pace: Pace = PACE,
        pulse: Silent = UNWATCHED,
    ) -> None:
        self._robot = robot
        self._outbox = outbox
        self._clock = clock
        self._window = window
        self._share = max(1, window // 2)
        self._resend_after = resend_after
        self._pace = BacklogPace(pace, clock)
        self._pulse = pulse
        self._epoch = ""
        self._oldest: dict[int, Entry] = {}
        self._watched: list[Entry] = []
        self._short = asyncio.Event()
        self._sent: dict[int, float] = {}
        self._repeated: set[int] = set()
        self._ahead: set[int] = set()
        self._held: Sequence[Span] = ()
        self._old = 0
        self._front = 0
        self._unheard = 0
        self._heard = 0.0
        self._progress = 0.0
        self._sparse = float("-inf")
        self._patience = 1.0

    async def run(self, session: Session) -> None:
        """Send over this session, for ever."""
        self._begin()
        async with asyncio.TaskGroup() as tasks:
            # Apart, since a slow disk must not hold up live data.
            tasks.create_task(self._read_ahead(), name="edge.link.read_ahead")
            while True:
                self._outbox.changed.clear()
                held_back = await self._round(session)
                if len(self._oldest) < min(self._window, self._outbox.backlog):
                    self._short.set()
                with self._pulse:
                    await self._wait(held_back)

    def heard(self, beyond: Sequence[Span] = (), *, progress: bool) -> None:
        """An acknowledgement has arrived, and brought the outbox forward or not. The hub also has what is `beyond`."""
        now = self._clock.monotonic()
        if now - self._heard > self._resend_after and self._unheard >= self._share:
            self._old = self._outbox.head  # the hub was silent: what gathered meanwhile is a backlog
        self._heard = now
        self._unheard = 0
        if progress:
            self._progress = now
            self._patience = 1.0
            self._measure(now)
            self._forget()
        self._hold(beyond)
        self._outbox.changed.set()

    def _measure(self, now: float) -> None:
        """How long the newest message that is acknowledged took. One that was sent twice does not tell (Karn's rule),
        and one that was sent ahead had to wait for the window."""
        known = self._outbox.acknowledged
        for seq in reversed(self._oldest):
            if seq <= known and seq in self._sent:
                if seq not in self._repeated and seq not in self._ahead:
                    self._pace.acknowledged(now - self._sent[seq])
                return

    def _begin(self) -> None:
        now = self._clock.monotonic()
        if self._epoch != self._outbox.epoch:  # every number means another message now
            self._epoch = self._outbox.epoch
            self._oldest.clear()
            self._ahead.clear()
        self._forget()
        self._held = ()  # it may be another hub, or one that lost its memory
        self._sent.clear()
        self._repeated.clear()
        self._pace.begin()
        self._old = self._front = self._outbox.head
        self._unheard = 0
        self._heard = self._progress = now
        self._patience = 1.0

    def _forget(self) -> None:
        known = self._outbox.acknowledged
        self._oldest = {seq: entry for seq, entry in self._oldest.items() if seq > known}
        self._sent = {seq: at for seq, at in self._sent.items() if seq > known}
        self._ahead = {seq for seq in self._ahead if seq > known}
        self._repeated = {seq for seq in self._repeated if seq > known}

    def _hold(self, beyond: Sequence[Span]) -> None:
        """The hub has these, as far as its last word goes."""
        self._held = beyond
        if beyond:
            for seq in [seq for seq in self._ahead if within(beyond, seq)]:
                self._ahead.discard(seq)
                self._sent.pop(seq, None)
                self._repeated.discard(seq)

    async def _read_ahead(self) -> None:
        """Have the oldest messages at hand, as many as the window holds."""
        while True:
            await self._short.wait()
            self._short.clear()
            after = next(reversed(self._oldest), self._outbox.acknowledged)
            found = await self._outbox.read(after, self._window - len(self._oldest))
            self._oldest.update((entry.seq, entry) for entry in found)
            self._forget()
            if found:
                self._outbox.changed.set()

    async def _round(self, session: Session) -> bool:
        """Send what may be sent now; returns whether the pace holds back more."""
        if self._epoch != self._outbox.epoch:
            self._begin()
        if not self._outbox.backlog:
            self._watched = []
            return False
        reach = next(reversed(self._oldest), self._outbox.acknowledged)
        notices = self._outbox.notices(reach + 1)
        few = self._outbox.backlog <= self._window and not any(
            seq <= self._old and seq not in self._sent and not within(self._held, seq) for seq in self._oldest
        )
        oldest = list(self._oldest.values())[: None if few else max(1, self._window - self._share)]
        self._watched = [*notices, *oldest]
        for entry in self._unsent(notices):
            await self._send(session, entry)
        if few:
            for entry in self._unsent(oldest):
                self._unheard += 1
                await self._send(session, entry)
            self._front = max(self._front, reach)
        else:
            await self._send_live(session)
            for count, entry in enumerate(self._unsent(oldest), 1):
                if entry.seq <= self._old and not self._pace.take():
                    return True
                await self._send(session, entry)
                if count % TURN == 0:
                    await asyncio.sleep(0)  # a connection with room takes all at once, and others wait for the loop
                    await self._send_live(session)
        return await self._send_again(session)

    async def _send_live(self, session: Session) -> None:
        """The newest messages, ahead of the backlog."""
        room = min(self._share - self._unheard, AHEAD - len(self._ahead))
        if room <= 0:
            return
        fresh = self._unsent(self._outbox.fresh(self._front, room))
        if len(self._ahead) >= AHEAD // 2 or len(self._held) >= SCATTERED:
            now = self._clock.monotonic()
            fresh = [entry for entry in fresh if entry.type == "state" and now - self._sparse >= SPARSE][-1:]
            self._sparse = now if fresh else self._sparse
        for entry in fresh:
            self._front = entry.seq
            self._unheard += 1
            self._ahead.add(entry.seq)
            await self._send(session, entry)

    async def _send_again(self, session: Session) -> bool:
        """Repeat what is not acknowledged in time, of the oldest; returns whether the pace holds back more."""
        now = self._clock.monotonic()
        wait = self._resend_after * self._patience
        if now - self._progress < min(STALL, wait):
            return False
        overdue = [e for e in self._watched if now - self._sent.get(e.seq, now) >= wait and not self._has(e)]
        if overdue:
            self._patience = min(8.0, self._patience * 2.0)
            self._pace.lost()
        for entry in overdue:
            if entry.seq <= self._old and not self._pace.take():
                return True
            await self._send(session, entry)
        return False

    async def _send(self, session: Session, entry: Entry) -> None:
        if entry.seq in self._sent:
            self._repeated.add(entry.seq)
        # Noted before it is handed over: a connection that is full counts as delay.
        self._sent[entry.seq] = self._clock.monotonic()
        topic = topics.up(self._robot, entry.type)
        await session.publish(topic, entry.payload, qos=0 if entry.type == "telemetry" else 1)
        self._pulse.beat()

    def _unsent(self, entries: Iterable[Entry]) -> list[Entry]:
        return [entry for entry in entries if entry.seq not in self._sent and not self._has(entry)]

    def _has(self, entry: Entry) -> bool:
        """Whether the hub has it, as far as its last word goes."""
        return within(self._held, entry.seq)

    async def _wait(self, held_back: bool) -> None:
        """Until something changes, or the pace allows more, or a message is overdue."""
        now = self._clock.monotonic()
        moments = [self._sent[e.seq] for e in self._watched if e.seq in self._sent and not self._has(e)]
        if held_back:
            # For a few at once, so that this does not wake up for each.
            due = max(0.02, self._pace.due())
        elif moments:
            wait = self._resend_after * self._patience
            due = max(min(moments) + wait, self._progress + min(STALL, wait)) - now
        else:
            await self._outbox.changed.wait()
            return
        # At least a little, since the clock may stand still while the loop does not.
        await wait_event(self._outbox.changed, self._clock, max(due, 0.001))
