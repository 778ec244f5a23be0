"""The live state of all robots. This is its only writer."""

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Self
from weakref import WeakValueDictionary

import msgspec

from botyard.core.actor import Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.config import FleetConfig
from botyard.core.events import RobotChanged, RobotLeaving, RobotRemoved, RobotRetired, RobotSeen
from botyard.core.tasks import Tasks
from botyard.fleet.admission import Admission, Admitted, Failed, authenticate
from botyard.fleet.presence import PresenceTracker
from botyard.fleet.record import RobotRecord
from botyard.fleet.rows import Rows
from botyard.fleet.watch import Notes, PresenceWatch
from botyard.plugin.api import AuthProvider, Connection, Deny, Inbound
from botyard.store.base import RobotRow, Store, StoreError
from botyard_schemas import Envelope, Presence, State
from botyard_schemas.clock import Clock

# Robots that wait to be accepted; more are refused, so that a stranger cannot fill the hub with names.
MAX_PENDING = 1000
# Robots that the auth providers are asked about at once.
MOST_QUESTIONS = 100
# A removal waits so long for what the robot sent last; and when a provider failed, nobody is asked about the robot
# again for so long: seconds.
SETTLED_WITHIN = 5.0
UNDECIDED_FOR = 2.0


class Fleet:
    """Robots by id. Loaded from the store on entry; watches for silence while its `async with` lasts."""

    def __init__(self, config: FleetConfig, store: Store, bus: Bus, clock: Clock, auth: Sequence[AuthProvider]) -> None:
        self._config = config
        self._store = store
        self._bus = bus
        self._clock = clock
        self._auth = auth
        self._robots: dict[str, RobotRecord] = {}
        # by robot: on which connection (transport, peer, token) it came last, and what was decided about that
        self._admissions: dict[str, Admitted] = {}
        # how often any of that has changed: while it has not, nobody needs to look
        self.decisions = 0
        self._adding = asyncio.Lock()
        # a robot is asked about once at a time, and so many robots at once
        self._doors: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._questions = asyncio.Semaphore(MOST_QUESTIONS)
        self._undecided: dict[str, float] = {}
        self._removing: set[str] = set()
        self._rows = Rows(store, clock)
        self._notes = Notes(bus, clock)
        self._watch = PresenceWatch(config, bus, clock, self._notes)
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        for row in await self._store.robots():
            self._robots[row.id] = self._new_record(row)
        for stored in await self._store.states():
            if record := self._robots.get(stored.robot):
                record.state = msgspec.json.decode(stored.body, type=State)
                record.state_ts = record.last_seen = stored.ts
        await self._tasks.__aenter__()
        self._tasks.start(self._watch.run(lambda: tuple(self._robots.values())), "hub.fleet.silence")
        self._tasks.start(self._rows.run(), "hub.fleet.save")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)

    def _new_record(self, row: RobotRow) -> RobotRecord:
        record = RobotRecord(row, PresenceTracker(heard=self._clock.monotonic()))
        if row.retired is not None:
            record.retires(row.retired)
        return record

    # --- reading

    def __len__(self) -> int:
        """Robots that have not retired."""
        return sum(not record.retired for record in self._robots.values())

    def get(self, robot: str) -> RobotRecord | None:
        """The robot's record, also when it has retired; only this class may change it."""
        return self._robots.get(robot)

    def active(self, robot: str) -> RobotRecord | None:
        """The robot's record unless it has retired."""
        record = self._robots.get(robot)
        return None if record is None or record.retired else record

    def leaving(self, robot: str) -> bool:
        """Whether the robot is just being removed."""
        return robot in self._removing

    def all(self, *, retired: bool = False) -> list[RobotRecord]:
        """Records by id, of those that have not retired, or of all."""
        return [self._robots[robot] for robot in sorted(self._robots) if retired or not self._robots[robot].retired]

    # --- what robots do

    def admission(
        self, message: Inbound, robot: str, token: str | None = None, session: str | None = None
    ) -> tuple[Admission, str] | None:
        """What was decided about this robot on this connection and why; None when `meet` has to decide.

        `session` is what a presence message calls the connection; a new one is a new connection.
        """
        known = self._admissions.get(robot)
        if (
            known is None
            or known.transport != message.transport
            or known.peer != message.peer
            or known.token != token
            or (session is not None and session != known.session)
        ):
            return None
        return known.decision

    async def meet(
        self, message: Inbound, robot: str, token: str | None = None, session: str | None = None
    ) -> tuple[Admission, str]:
        """Ask the auth providers about a robot's connection, and register a robot that is new. Raises StoreError."""
        return await self._tasks.whole(self._meet(message, robot, token, session), f"hub.fleet.meet {robot}")

    async def _meet(
        self, message: Inbound, robot: str, token: str | None, session: str | None
    ) -> tuple[Admission, str]:
        async with self._doors.setdefault(robot, asyncio.Lock()):
            if self._clock.monotonic() < self._undecided.get(robot, -math.inf):  # each question may take seconds
                return Admission.UNDECIDED, "the access check failed, see the hub's log"
            connection = Connection("robot", message.transport, message.peer, token=token, robot=robot)
            async with self._questions:
                access = await authenticate(self._auth, connection)
            if robot in self._removing:  # asked after all waiting, since what is kept below outlives this call
                return Admission.REFUSED, "the robot is being removed"
            if isinstance(access, Failed):
                self._undecided = {known: at for known, at in self._undecided.items() if at > self._clock.monotonic()}
                self._undecided[robot] = self._clock.monotonic() + UNDECIDED_FOR
                return Admission.UNDECIDED, access.reason
            if isinstance(access, Deny):
                decision = Admission.REFUSED, access.reason
            else:
                decision = await self._register(robot)
            if robot in self._robots and robot not in self._removing:
                # a stranger's name is not worth remembering: it would let anybody fill the memory
                self._admissions[robot] = Admitted(message.transport, message.peer, token, session, decision)
                self.decisions += 1
            return decision

    async def _register(self, robot: str) -> tuple[Admission, str]:
        if robot not in self._robots:
            async with self._adding:
                if refused := await self._add(robot):
                    return Admission.REFUSED, refused
        record = self._robots[robot]
        if record.retired:
            return Admission.RETIRED, f"the robot is retired; `botyard robots return {robot}` lets it take part again"
        if record.row.accepted:
            return Admission.ACCEPTED, ""
        return Admission.PENDING, "the robot waits to be accepted"

    async def _add(self, robot: str) -> str | None:
        """Register a robot that is new. Gives why it is refused, if it is. Raises StoreError."""
        if robot in self._robots:  # somebody else did it meanwhile
            return None
        if not self._config.auto_accept:
            pending = sum(not known.row.accepted and not known.retired for known in self._robots.values())
            if pending >= MAX_PENDING:
                return f"{pending} robots wait to be accepted already"
        row = RobotRow(id=robot, created=self._clock.now(), name=robot, type="", accepted=self._config.auto_accept)
        try:
            await self._store.add_robot(row)
        except KeyError:  # the store has it although this hub does not: something ended half way once
            row = next(known for known in await self._store.robots() if known.id == robot)
        self._robots[robot] = self._new_record(row)
        how = "takes part" if row.accepted else "waits to be accepted"
        self._notes.write(robot, robot_actor(robot), "robot.registered", f"first contact; the robot {how}")
        self._bus.publish(RobotChanged(actor=robot_actor(robot), robot=robot))
        return None

    def _decide_again(self, robot: str) -> None:
        self._admissions.pop(robot, None)
        self.decisions += 1

    def admitted(self, robot: str) -> Admitted | None:
        """What was decided about the robot's last connection; the same object for as long as it stands."""
        return self._admissions.get(robot)

    def sign_of_life(self, robot: str, message: Inbound) -> None:
        """An accepted robot sent something that says nothing about itself."""
        record = self._robots[robot]
        record.transport, record.last_seen = message.transport, message.received
        before = record.presence.status
        now = self._clock.monotonic()
        changed = record.presence.on_message(message.received, now, sessions=message.transport != "http")
        if changed and self._watch.changed(record, before):
            self._bus.publish(RobotChanged(actor=robot_actor(robot), robot=robot))
        elif self._bus.listened(RobotSeen):
            self._bus.publish(RobotSeen(actor=robot_actor(robot), robot=robot, at=message.received))

    def glimpse(self, robot: str, message: Inbound) -> None:
        """A robot that may not take part (yet) gave a sign of life."""
        if record := self._robots.get(robot):
            record.last_seen = message.received
        if record and not record.retired:
            self._bus.publish(RobotSeen(actor=robot_actor(robot), robot=robot, at=message.received))

    def observe(self, envelope: Envelope, message: Inbound) -> bool:
        """Take over what an accepted robot says of itself; says whether a state is news, and not one from before."""
        record = self._robots[envelope.robot]
        record.transport = message.transport
        if not message.retained:
            record.last_seen = message.received
        now = self._clock.monotonic()
        before = record.presence.status
        body = envelope.body
        if isinstance(body, Presence):
            if body.reason == "retired" and not message.retained:
                self._retire_itself(record)
                return False
            changed = record.presence.on_presence(body, message.received, now, retained=message.retained)
        else:
            changed = record.presence.on_message(message.received, now, sessions=message.transport != "http")
        changed = changed and self._watch.changed(record, before)
        news = isinstance(body, State) and record.takes_over(body, envelope)
        if isinstance(body, State) and news:
            self._introduce(record, body)
            changed = True
        actor = robot_actor(envelope.robot)
        if changed:
            self._bus.publish(RobotChanged(actor=actor, robot=envelope.robot))
        elif not message.retained:
            self._bus.publish(RobotSeen(actor=actor, robot=envelope.robot, at=message.received))
        return news

    def _introduce(self, record: RobotRecord, state: State) -> None:
        """What nobody has said about a robot is taken from what it says itself."""
        about, row = state.about, record.row
        if about is None:
            return
        name = about.name if about.name and row.name == row.id else row.name
        kind = row.type or about.type or ""
        if (name, kind) != (row.name, row.type):
            self._rows.change_later(record, {"name": name, "type": kind})

    # --- what people do

    async def create(self, row: RobotRow, actor: Actor) -> RobotRecord:
        """Register a robot before it is first seen. Raises KeyError when the id is taken."""
        return await self._tasks.whole(self._create(row, actor), f"hub.fleet.create {row.id}")

    async def _create(self, row: RobotRow, actor: Actor) -> RobotRecord:
        async with self._adding:
            if row.id in self._robots:
                raise KeyError(row.id)
            await self._store.add_robot(row)
            record = self._robots[row.id] = self._new_record(row)
        self._notes.write(row.id, actor, "robot.registered", "registered before first contact")
        self._bus.publish(RobotChanged(actor=actor, robot=row.id))
        return record

    async def change(self, robot: str, changes: Mapping[str, Any], actor: Actor) -> RobotRecord:
        """Change what people say of a robot: fields of its row. Raises KeyError."""
        return await self._tasks.whole(self._change(robot, changes, actor), f"hub.fleet.change {robot}")

    async def _change(self, robot: str, changes: Mapping[str, Any], actor: Actor) -> RobotRecord:
        record = self._robots[robot]
        before, row = await self._rows.change(record, changes)
        self._decide_again(robot)
        accepted = row.accepted and not before.accepted
        name = "robot.accepted" if accepted else "robot.changed"
        self._notes.write(robot, actor, name, "may take part now" if accepted else "its description was changed")
        self._bus.publish(RobotChanged(actor=actor, robot=robot))
        return record

    async def remove(self, robot: str, actor: Actor) -> None:
        """Forget a robot and everything that it sent. Raises KeyError, and StoreError when nothing was removed."""
        await self._tasks.whole(self._remove(robot, actor), f"hub.fleet.remove {robot}")

    async def _remove(self, robot: str, actor: Actor) -> None:
        if robot not in self._robots or robot in self._removing:
            raise KeyError(robot)
        self._removing.add(robot)
        self._decide_again(robot)
        leaving = RobotLeaving(actor=actor, robot=robot)
        self._bus.publish(leaving)
        try:
            await self._settled(leaving)
            with contextlib.suppress(KeyError):  # gone from the store already: something ended half way once
                await self._store.remove_robot(robot)
            del self._robots[robot]
            self._rows.forget(robot)
        finally:
            self._removing.discard(robot)
        self._notes.write(None, actor, "robot.removed", f"{robot} was removed with everything that it sent")
        self._bus.publish(RobotRemoved(actor=actor, robot=robot))

    async def _settled(self, leaving: RobotLeaving) -> None:
        """Wait until what the robot sent is in the store, to be removed with the rest. Raises StoreError."""
        if not leaving.settled:
            return
        _, left = await asyncio.wait(leaving.settled, timeout=SETTLED_WITHIN)
        if left:
            raise StoreError(f"the store takes nothing in, so {leaving.robot} was not removed; try again later")

    # --- retiring and coming back

    async def retire(self, robot: str, actor: Actor) -> RobotRecord:
        """Let a robot leave the fleet; what it sent stays. Raises KeyError."""
        return await self._tasks.whole(self._retire(robot, actor), f"hub.fleet.retire {robot}")

    async def _retire(self, robot: str, actor: Actor) -> RobotRecord:
        record = self._robots[robot]
        if not record.retired:
            before, _ = await self._rows.change(record, {"retired": self._clock.now()})
            if before.retired is None:
                self._has_retired(record, actor)
        return record

    def _retire_itself(self, record: RobotRecord) -> None:
        if not record.retired:
            self._rows.change_later(record, {"retired": self._clock.now()})
            self._has_retired(record, robot_actor(record.row.id))

    def _has_retired(self, record: RobotRecord, actor: Actor) -> None:
        robot = record.row.id
        record.retires(record.row.retired or self._clock.now())
        self._decide_again(robot)
        self._notes.write(robot, actor, "robot.retired", "has left the fleet; what it sent stays")
        self._bus.publish(RobotRetired(actor=actor, robot=robot))
        self._bus.publish(RobotChanged(actor=actor, robot=robot))

    async def bring_back(self, robot: str, actor: Actor) -> RobotRecord:
        """Let a retired robot take part again. Raises KeyError."""
        return await self._tasks.whole(self._bring_back(robot, actor), f"hub.fleet.return {robot}")

    async def _bring_back(self, robot: str, actor: Actor) -> RobotRecord:
        record = self._robots[robot]
        if record.retired:
            before, _ = await self._rows.change(record, {"retired": None})
            if before.retired is not None:
                self._has_returned(record, actor)
        return record

    def comes_back(self, robot: str) -> tuple[Admission, str]:
        """A retired robot that was let in says that it wants to take part again; gives what is decided about that."""
        record = self._robots[robot]
        if not self._config.auto_accept:
            sentence = "robots do not come back by themselves here (fleet.auto_accept)"
            return Admission.RETIRED, f"the robot is retired, and {sentence}; `botyard robots return {robot}` does it"
        self._rows.change_later(record, {"retired": None})
        self._has_returned(record, robot_actor(robot))
        if not record.row.accepted:
            return Admission.PENDING, "the robot waits to be accepted"
        return Admission.ACCEPTED, ""

    def _has_returned(self, record: RobotRecord, actor: Actor) -> None:
        robot = record.row.id
        record.presence.on_returned(self._clock.monotonic())
        self._decide_again(robot)
        self._notes.write(robot, actor, "robot.returned", "takes part again")
        self._bus.publish(RobotChanged(actor=actor, robot=robot))
