"""Commands under whatever may happen, in virtual time: outages, answers early, late and twice, restarts of the hub."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botyard.commands.request import CommandRefusedError, Wanted
from botyard.core.actor import Actor
from botyard.core.hub import Hub
from botyard.plugin.manager import build_plugin_manager
from botyard.store.base import CommandRow
from botyard.testing import PLUGINS, FakeRobot, MemoryTransport, hub_config
from botyard_schemas import virtual
from botyard_schemas.messages import Command
from botyard_schemas.virtual import LoopClock

USER = Actor("user", "test")
OPEN = ("queued", "sent", "accepted", "running")
STATUSES = ["accepted", "succeeded", "rejected"]

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from([1.0, 5.0, 40.0])),
        st.tuples(st.just("wait"), st.sampled_from([0.1, 2.0, 15.0])),
        st.tuples(st.sampled_from(["online", "offline", "restart"]), st.none()),
        st.tuples(st.just("report"), st.tuples(st.integers(0, 5), st.sampled_from(STATUSES))),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
    ),
    max_size=14,
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

    @contextlib.asynccontextmanager
    async def hub(self) -> AsyncIterator[None]:
        transport = Noting(self)
        plugins = build_plugin_manager(defaults=PLUGINS)
        plugins.register(transport)
        config = hub_config(self.folder, roles=["ingest"])
        async with Hub(config, clock=self.clock, plugins=plugins, processes=False) as self.running:
            self.robot = FakeRobot("r", transport, self.clock)
            self.robot.seq = self.seq
            if self.online:
                await self.presence(online=True)
            yield
            self.seq = self.robot.seq

    async def presence(self, *, online: bool) -> None:
        self.session += online
        self.online |= online  # once the hub may know of it, until it must
        await self.robot.presence("online" if online else "offline", session=f"s{self.session}", interval=3600.0)
        self.online = online

    async def do(self, what: str, value: Any) -> None:
        commands = self.running.commands
        assert commands is not None
        match what:
            case "ask":
                self.asked.append(await commands.request("r", Wanted(name="goto", expires_in=value), USER))
            case "wait":
                await self.clock.sleep(value)
            case "online" | "offline":
                await self.presence(online=what == "online")
            case "report" if self.sent:
                command = self.sent[value[0] % len(self.sent)][1].id
                await self.robot.report(command, value[1])
                self.answered.setdefault(command, []).append(value[1])
                await self.clock.sleep(0.5)
                self.heard.add(command)
            case "cancel" if self.asked:
                with contextlib.suppress(CommandRefusedError):
                    await commands.withdraw("r", self.asked[value % len(self.asked)].id, USER)


class Noting(MemoryTransport):
    """Notes when which command was sent, and whether the robot was there."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def send(self, envelope: Any) -> bool:
        if isinstance(envelope.body, Command):
            wrong = {
                "sent to a robot that is away": not self._world.online,
                "sent after its deadline": self._world.clock.now() >= envelope.body.expires,
                "sent again although the robot had answered": envelope.body.id in self._world.heard,
            }
            self._world.wrong += [sentence for sentence, is_so in wrong.items() if is_so]
            self._world.sent.append((self._world.clock.now(), envelope.body))
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
    async with world.hub():
        await world.clock.sleep(60.0)
        rows = {row.id: row for row in (await world.running.store.commands("r")).items}
        assert set(rows) == {row.id for row in world.asked}, "each that was asked for is kept, once"
        for row in rows.values():
            said = world.answered.get(row.id, [])
            if "succeeded" in said:
                assert row.status == "succeeded"
            elif "rejected" in said:
                assert row.status == "rejected"
            elif said:
                assert row.status == "accepted"
            else:
                assert row.status in ("expired", "cancelled")
                assert row.reason
            if row.status == "cancelled":
                assert row.id not in {command.id for _, command in world.sent}
            assert row.late is False or said
        assert world.wrong == []
        for earlier, command in world.sent:
            again = [at for at, other in world.sent if other.id == command.id and at > earlier]
            assert all(at - earlier >= 1_900_000 for at in again), "sent twice needlessly"


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(steps)
def test_commands_are_kept_sent_no_more_than_needed_and_always_come_to_an_end(history: list[tuple[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        virtual.run(live(Path(folder), history))
