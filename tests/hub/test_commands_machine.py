"""Commands under whatever may happen, in virtual time: outages, answers early, late and twice, restarts of the hub, a
store that refuses to write, a transport that hangs, robots that retire and removals that fail."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from botyard.commands import sender
from botyard.commands.request import CommandRefusedError, Wanted
from botyard.core.actor import Actor
from botyard.core.hub import Hub
from botyard.plugin.manager import build_plugin_manager
from botyard.store.base import CommandRow, StoreError
from botyard.testing import PLUGINS, FakeRobot, MemoryTransport, hub_config
from botyard_schemas import virtual
from botyard_schemas.messages import Command
from botyard_schemas.virtual import LoopClock

USER = Actor("user", "test")
OPEN = ("queued", "sent", "accepted", "running")
STATUSES = ["accepted", "running", "succeeded", "rejected"]
# Without these the hub does what is asked of it at once.
FAILURES = ("store", "transport", "removal")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from([1.0, 5.0, 40.0])),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 2.0, 15.0, 50.0])),
        st.tuples(st.sampled_from(["online", "offline", "restart"]), st.none()),
        st.tuples(st.just("report"), st.tuples(st.integers(0, 5), st.sampled_from(STATUSES))),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.sampled_from(FAILURES), st.booleans()),
        st.tuples(st.sampled_from(["retire", "return", "remove"]), st.none()),
    ),
    max_size=18,
)


class World:
    """A hub that is restarted now and then, and a robot that answers as it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = LoopClock(asyncio.get_running_loop())
        self.asked: list[CommandRow] = []
        self.sent: list[tuple[int, Command]] = []
        self.answered: dict[str, list[str]] = {}
        self.heard: set[str] = set()
        self.wrong: list[str] = []  # kept, since the hub survives a transport that raises
        self.online = False
        self.session = 0
        self.seq = 0
        self.failing: set[str] = set()
        self.trouble = False

    @contextlib.asynccontextmanager
    async def hub(self) -> AsyncIterator[None]:
        self.failing.clear()
        transport = Noting(self)
        plugins = build_plugin_manager(defaults=PLUGINS)
        plugins.register(transport)
        config = hub_config(self.folder, roles=["ingest"])
        async with Hub(config, clock=self.clock, plugins=plugins, processes=False) as self.running:
            self.break_now_and_then("store", "add_command", "change_command")
            self.break_now_and_then("removal", "remove_robot")
            self.robot = FakeRobot("r", transport, self.clock)
            self.robot.seq = self.seq
            if self.online:
                await self.presence(online=True)
            yield
            self.failing.clear()
            self.seq = self.robot.seq

    def break_now_and_then(self, what: str, *methods: str) -> None:
        """These methods of the store fail while this is broken."""
        for method in methods:
            real = getattr(self.running.store, method)

            async def fails(*arguments: Any, real: Any = real) -> Any:
                await self.clock.sleep(0.01)
                if what in self.failing:
                    raise StoreError("on purpose")
                return await real(*arguments)

            setattr(self.running.store, method, fails)

    async def presence(self, *, online: bool) -> None:
        self.session += online
        self.online |= online  # once the hub may know of it, until it must
        await self.robot.presence("online" if online else "offline", session=f"s{self.session}", interval=3600.0)
        self.online = online

    def deadline(self, command: str) -> int:
        return next(row.expires for row in self.asked if row.id == command)

    def has_ended(self, command: str) -> bool:
        return command in self.heard and not {"succeeded", "rejected"}.isdisjoint(self.answered[command])

    async def do(self, what: str, value: Any) -> None:
        commands = self.running.commands
        assert commands is not None
        match what:
            case "ask":
                with contextlib.suppress(CommandRefusedError, StoreError):
                    self.asked.append(await commands.request("r", Wanted(name="goto", expires_in=value), USER))
            case "store" | "transport" | "removal":
                self.failing.add(what) if value else self.failing.discard(what)
                self.trouble |= value
            case "retire":
                await self.running.fleet.retire("r", USER)
                self.online, self.trouble = False, True
            case "return":
                await self.running.fleet.bring_back("r", USER)
            case "remove" if "removal" in self.failing:
                with contextlib.suppress(StoreError):
                    await self.running.fleet.remove("r", USER)
            case "wait":
                await self.clock.sleep(value)
            case "online" | "offline":
                await self.presence(online=what == "online")
            case "report" if self.sent:
                command = self.sent[value[0] % len(self.sent)][1].id
                takes_part = self.running.fleet.active("r") is not None  # else nothing is taken in
                await self.robot.report(command, value[1])
                if takes_part:
                    self.answered.setdefault(command, []).append(value[1])
                await self.clock.sleep(0.5)
                if takes_part:
                    self.heard.add(command)
            case "cancel" if self.asked:
                with contextlib.suppress(CommandRefusedError, StoreError):
                    await commands.withdraw("r", self.asked[value % len(self.asked)].id, USER)


class Noting(MemoryTransport):
    """Notes when which command was sent, and whether the robot was there."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def send(self, envelope: Any) -> bool:
        world = self._world
        if isinstance(envelope.body, Command):
            if "transport" in world.failing:
                await asyncio.Event().wait()
            question = envelope.body.expires == 0
            wrong = {
                "sent to a robot that is away": not world.online,
                "sent after its deadline": not question and world.clock.now() >= envelope.body.expires,
                "sent again although the robot had answered": not question and envelope.body.id in world.heard,
                "asked about before its deadline": question and world.clock.now() < world.deadline(envelope.body.id),
                "asked about although it had ended": question and world.has_ended(envelope.body.id),
            }
            world.wrong += [sentence for sentence, is_so in wrong.items() if is_so]
            if not question:
                world.sent.append((world.clock.now(), envelope.body))
        return await super().send(envelope)


async def live(folder: Path, history: list[tuple[str, Any]]) -> None:
    world = World(folder)
    lives: list[list[tuple[str, Any]]] = [[("online", None)]]
    for step in history:
        lives.append([]) if step[0] == "restart" else lives[-1].append(step)
    for life in lives:
        async with world.hub():
            for what, value in life:
                await world.do(what, value)
            if life is lives[-1]:
                world.failing.clear()
                await world.clock.sleep(60.0 + sender.LOST_WHEN_AWAY + sender.LOST_WHEN_SILENT)
                await check_all(world)


async def check_all(world: World) -> None:
    """Nothing is left to wait for."""
    rows = {row.id: row for row in (await world.running.store.commands("r")).items}
    assert set(rows) == {row.id for row in world.asked}, "each that was asked for is kept, once"
    for row in rows.values():
        check(world, row)
    events = (await world.running.store.events(name="command", limit=1000)).items
    told = {(event.cause, event.name.partition(".")[2]) for event in events}
    assert told >= {(row.id, row.status) for row in rows.values()}, "what became of each is told"
    assert world.wrong == []
    for earlier, command in world.sent:
        again = [at for at, other in world.sent if other.id == command.id and at > earlier]
        assert world.trouble or all(at - earlier >= 1_900_000 for at in again), "sent twice needlessly"


def check(world: World, row: CommandRow) -> None:
    """What has become of a command in the end."""
    said = world.answered.get(row.id, [])
    assert row.status not in OPEN
    if "succeeded" in said:
        assert row.status == "succeeded"
    elif "rejected" in said:
        assert row.status in ("rejected", "expired")  # expired: it was written off before
    else:
        assert row.status in ("expired", "cancelled")
        assert row.reason
    if row.status == "cancelled" and not world.trouble:
        assert row.id not in {command.id for _, command in world.sent}
    assert row.late is False or said


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(steps)
@example([("offline", None), ("ask", 40.0), ("store", True), ("cancel", 0)])
@example([("ask", 1.0), ("wait", 0.1), ("report", (0, "accepted")), ("offline", None)])
@example([("offline", None), ("ask", 40.0), ("removal", True), ("remove", None), ("online", None)])
def test_commands_are_kept_sent_no_more_than_needed_and_always_come_to_an_end(history: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:  # days would take too long
        for name, seconds in (
            ("ASK_AFTER", 3.0),
            ("ASK_EVERY", 5.0),
            ("LOST_WHEN_AWAY", 20.0),
            ("LOST_WHEN_SILENT", 60.0),
        ):
            patch.setattr(sender, name, seconds)
        virtual.run(live(Path(folder), history))
