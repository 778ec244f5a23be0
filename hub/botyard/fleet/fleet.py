"""The live state of all robots. This is its only writer."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Self

import msgspec

from botyard.core.actor import HUB, Actor, robot_actor
from botyard.core.bus import Bus
from botyard.core.config import FleetConfig
from botyard.core.events import EventNoted, RobotChanged, RobotLeaving, RobotRemoved, RobotSeen
from botyard.core.tasks import Tasks
from botyard.fleet.admission import Admission, Admitted, authenticate
from botyard.fleet.presence import PresenceTracker
from botyard.fleet.record import RobotRecord
from botyard.plugin.api import AuthProvider, Connection, Deny, Inbound
from botyard.store.base import EventRow, RobotRow, Store, StoreError
from botyard_schemas import Envelope, Presence, State
from botyard_schemas.clock import Clock
from botyard_schemas.messages import Severity

log = logging.getLogger(__name__)

# Robots that wait to be accepted; more are refused, so that a stranger cannot fill the hub with names.
MAX_PENDING = 1000
TICK = 1.0


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
        self._meeting = asyncio.Lock()
        self._changing = asyncio.Lock()  # rows are written to the store one after the other, or an older one may win
        self._removing: set[str] = set()
        self._unsaved: dict[str, RobotRow] = {}
        self._save = asyncio.Event()
        self._tasks = Tasks()

    async def __aenter__(self) -> Self:
        for row in await self._store.robots():
            self._robots[row.id] = self._new_record(row)
        for stored in await self._store.states():
            if record := self._robots.get(stored.robot):
                record.state = msgspec.json.decode(stored.body, type=State)
                record.state_ts = record.last_seen = stored.ts
        await self._tasks.__aenter__()
        self._tasks.start(self._watch_silence(), "hub.fleet.silence")
        self._tasks.start(self._save_introductions(), "hub.fleet.save")
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self._tasks.cancel()
        await self._tasks.__aexit__(*exc)

    def _new_record(self, row: RobotRow) -> RobotRecord:
        return RobotRecord(row, PresenceTracker(heard=self._clock.monotonic()))

    # --- reading

    def __len__(self) -> int:
        return len(self._robots)

    def get(self, robot: str) -> RobotRecord | None:
        """The robot's record; only this class may change it."""
        return self._robots.get(robot)

    def all(self) -> list[RobotRecord]:
        """All records, by id."""
        return [self._robots[robot] for robot in sorted(self._robots)]

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
        async with self._meeting:
            connection = Connection("robot", message.transport, message.peer, token=token, robot=robot)
            access = await authenticate(self._auth, connection)
            if robot in self._removing:  # asked after all waiting, since what is kept below outlives this call
                return Admission.REFUSED, "the robot is being removed"
            if isinstance(access, Deny):
                decision = Admission.REFUSED, access.reason
            else:
                decision = await self._register(robot)
            if robot in self._robots and robot not in self._removing:
                # a stranger's name is not worth remembering: it would let anybody fill the memory
                self._admissions[robot] = Admitted(message.transport, message.peer, token, session, decision)
            return decision

    async def _register(self, robot: str) -> tuple[Admission, str]:
        record = self._robots.get(robot)
        if record is None:
            pending = sum(not known.row.accepted for known in self._robots.values())
            if not self._config.auto_accept and pending >= MAX_PENDING:
                return Admission.REFUSED, f"{pending} robots wait to be accepted already"
            row = RobotRow(id=robot, created=self._clock.now(), name=robot, type="", accepted=self._config.auto_accept)
            try:
                await self._store.add_robot(row)
            except KeyError:  # the store has it although this hub does not: something ended half way once
                row = next(known for known in await self._store.robots() if known.id == robot)
            record = self._robots[robot] = self._new_record(row)
            how = "takes part" if row.accepted else "waits to be accepted"
            self._note(robot, robot_actor(robot), "robot.registered", "info", f"first contact; the robot {how}")
            self._bus.publish(RobotChanged(actor=robot_actor(robot), robot=robot))
        if record.row.accepted:
            return Admission.ACCEPTED, ""
        return Admission.PENDING, "the robot waits to be accepted"

    def glimpse(self, robot: str, message: Inbound) -> None:
        """A robot that may not take part (yet) gave a sign of life."""
        if record := self._robots.get(robot):
            record.last_seen = message.received
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
            changed = record.presence.on_presence(body, message.received, now, retained=message.retained)
        else:
            changed = record.presence.on_message(message.received, now, sessions=message.transport != "http")
        if changed:
            self._presence_changed(record, before)
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
            record.row = msgspec.structs.replace(row, name=name, type=kind)
            self._unsaved[row.id] = record.row
            self._save.set()

    # --- what people do

    async def create(self, row: RobotRow, actor: Actor) -> RobotRecord:
        """Register a robot before it is first seen. Raises KeyError when the id is taken."""
        return await self._tasks.whole(self._create(row, actor), f"hub.fleet.create {row.id}")

    async def _create(self, row: RobotRow, actor: Actor) -> RobotRecord:
        async with self._meeting:
            if row.id in self._robots:
                raise KeyError(row.id)
            await self._store.add_robot(row)
            record = self._robots[row.id] = self._new_record(row)
        self._note(row.id, actor, "robot.registered", "info", "registered before first contact")
        self._bus.publish(RobotChanged(actor=actor, robot=row.id))
        return record

    async def change(self, robot: str, changes: Mapping[str, Any], actor: Actor) -> RobotRecord:
        """Change what people say of a robot: fields of its row. Raises KeyError."""
        return await self._tasks.whole(self._change(robot, changes, actor), f"hub.fleet.change {robot}")

    async def _change(self, robot: str, changes: Mapping[str, Any], actor: Actor) -> RobotRecord:
        async with self._changing:
            record = self._robots[robot]
            before = record.row
            row = msgspec.structs.replace(before, **changes)
            await self._store.change_robot(row)
            if record.row is before:
                record.row = row
                self._unsaved.pop(robot, None)
            else:  # it introduced itself meanwhile
                record.row = self._unsaved[robot] = msgspec.structs.replace(record.row, **changes)
                self._save.set()
        self._admissions.pop(robot, None)
        accepted = row.accepted and not before.accepted
        name = "robot.accepted" if accepted else "robot.changed"
        self._note(robot, actor, name, "info", "may take part now" if accepted else "its description was changed")
        self._bus.publish(RobotChanged(actor=actor, robot=robot))
        return record

    async def remove(self, robot: str, actor: Actor) -> None:
        """Forget a robot and everything that it sent. Raises KeyError."""
        await self._tasks.whole(self._remove(robot, actor), f"hub.fleet.remove {robot}")

    async def _remove(self, robot: str, actor: Actor) -> None:
        if robot not in self._robots or robot in self._removing:
            raise KeyError(robot)
        self._removing.add(robot)
        self._admissions.pop(robot, None)
        self._bus.publish(RobotLeaving(actor=actor, robot=robot))
        try:
            with contextlib.suppress(KeyError):  # gone from the store already: something ended half way once
                await self._store.remove_robot(robot)
            del self._robots[robot]
            self._unsaved.pop(robot, None)
        finally:
            self._removing.discard(robot)
        self._note(None, actor, "robot.removed", "info", f"{robot} was removed with everything that it sent")
        self._bus.publish(RobotRemoved(actor=actor, robot=robot))

    # --- time

    async def _watch_silence(self) -> None:
        while True:
            await self._clock.sleep(TICK)
            at, now = self._clock.now(), self._clock.monotonic()
            for record in list(self._robots.values()):
                before = record.presence.status
                if record.presence.on_time(at, now, self._config.offline_after):
                    self._presence_changed(record, before)
                    self._bus.publish(RobotChanged(actor=HUB, robot=record.row.id))

    async def _save_introductions(self) -> None:
        while True:
            await self._save.wait()
            self._save.clear()
            failed = False
            while self._unsaved:
                try:
                    async with self._changing:
                        await self._save_introduction()
                except StoreError as error:
                    if not failed:
                        log.warning("what robots say of themselves is not saved yet: %s", error)
                    failed = True
                    await self._clock.sleep(TICK)

    async def _save_introduction(self) -> None:
        robot, row = next(iter(self._unsaved.items()), (None, None))
        if robot is None or row is None:
            return
        with contextlib.suppress(KeyError):  # removed in the meantime
            await self._store.change_robot(row)
        if self._unsaved.get(robot) is row:
            del self._unsaved[robot]

    def _presence_changed(self, record: RobotRecord, before: str) -> None:
        presence = record.presence
        if before == "unknown":
            return  # the hub has just started; it is news to the hub only
        severity: Severity = "info" if presence.status == "online" or presence.reason == "stopped" else "warning"
        actor = HUB if presence.reason == "silence" else robot_actor(record.row.id)
        self._note(
            record.row.id, actor, f"robot.{presence.status}", severity, f"is {presence.status} ({presence.reason})"
        )

    def _note(self, robot: str | None, actor: Actor, name: str, severity: Severity, message: str) -> None:
        row = EventRow(
            ts=self._clock.now(), robot=robot, actor=str(actor), name=name, severity=severity, message=message
        )
        self._bus.publish(EventNoted(actor=actor, event=row))
