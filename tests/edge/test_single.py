"""The edge started twice for one robot, by mistake or while the first one ends."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from botyard_edge.config import Config, OutboxSettings
from botyard_edge.driver import Capabilities, Channel, Command, CommandSpec, Motion, Progress
from botyard_edge.memory import MemoryOutbox
from botyard_edge.outbox import OutboxError
from botyard_edge.single import Single
from botyard_edge.testing import VirtualClock
from botyard_schemas import Report

from .conftest import Script, World

GOTO = CommandSpec("goto", args={"type": "object"}, motion=Motion("goal"))


class Driving(Script):
    async def execute(self, command: Command, progress: Progress) -> None:
        await self.context.clock.sleep(60.0)


async def idle(driver: Any, port: Any) -> None:
    await driver.context.clock.sleep(1e9)


@pytest.fixture
def settings(scripted: Callable[..., Config], tmp_path: Path) -> Config:
    can = Capabilities((Channel("a"),), (GOTO,))
    outbox = OutboxSettings("state/out.db")
    return scripted(idle, capabilities=can, driver=Driving, folder=tmp_path, outbox=outbox, flush_timeout=0.1)


def files(folder: Path) -> dict[str, bytes]:
    """What safety remembers."""
    return {path.name: path.read_bytes() for path in folder.rglob("*.safety*")}


def send(world: World, id_: str) -> None:
    world.hub.command("r1", Command(id_, "goto", world.clock.now() + 3_600_000_000, {}))


def edge(world: World, settings: Config) -> "asyncio.Task[int]":
    outbox = MemoryOutbox("r1", clock=world.clock, rng=random.Random(2))  # the lock is to keep it out, not the outbox
    return asyncio.create_task(world.runtime(settings, outbox=outbox).run())


async def test_second_edge_of_a_robot_ends_and_the_first_one_notices_nothing(
    world: World, settings: Config, tmp_path: Path
) -> None:
    first = edge(world, settings)
    await world.clock.advance(0.1)
    send(world, "c1")
    await world.clock.advance(1)
    before = files(tmp_path)
    assert b"c1" in before["out.db.safety.commands"]
    second = edge(world, settings)
    with pytest.raises(OutboxError, match=r"out\.db\.lock: another process runs with this robot's files"):
        await world.finish(second)
    assert files(tmp_path) == before, "no restart in the middle of a motion, and nothing forgotten"
    await world.clock.advance(60)
    assert world.hub.bodies("r1", Report)[-1] == Report("c1", "succeeded")
    assert not first.done()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_edge_that_is_started_while_the_one_before_ends_waits_for_it(tmp_path: Path) -> None:
    clock, path = VirtualClock(), tmp_path / "lock"
    entered: list[float] = []

    async def enter() -> None:
        async with Single(path, clock):
            entered.append(clock.monotonic())

    async with Single(path, clock):
        task = asyncio.create_task(enter())
        await clock.advance(3.0)
        assert entered == []
    await clock.advance(0.2)
    assert entered == [pytest.approx(3.0, abs=0.2)]
    await task


async def test_folder_that_cannot_be_locked_keeps_no_robot_from_working(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "lock").mkdir()
    async with Single(tmp_path / "lock", VirtualClock()):
        assert "so a second edge of this robot is not kept out" in caplog.text
