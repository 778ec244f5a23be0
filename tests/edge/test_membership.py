"""Leaving the fleet and coming back, from the robot's side."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from botyard_edge.blocking import Inline
from botyard_edge.config import Config
from botyard_edge.durable import SqliteOutbox
from botyard_edge.membership import Membership, MembershipError
from botyard_edge.outbox import OutboxError
from botyard_schemas import Event

from .conftest import World


async def idle(driver: Any, port: Any) -> None:
    await driver.context.clock.sleep(1e9)


def outbox(world: World, config: Config) -> SqliteOutbox:
    path = config.folder / "outbox.db"
    return SqliteOutbox("r1", path, clock=world.clock, rng=random.Random(3), elsewhere=Inline(), patience=0.05)


def membership(world: World, config: Config) -> Membership:
    transport = world.broker.transport("r1")
    return Membership(config, world.clock, random.Random(2), transport, outbox(world, config))


async def with_a_backlog(world: World, config: Config) -> None:
    """A robot whose edge has ended before the hub had everything."""
    async with outbox(world, config) as kept:
        for n in range(5):
            await kept.put(Event(f"e{n}", "info"))


@pytest.fixture
def config(scripted: Callable[..., Config], tmp_path: Any) -> Config:
    return scripted(idle, folder=tmp_path)


async def test_robot_that_retires_hands_over_its_outbox_first(world: World, config: Config) -> None:
    await with_a_backlog(world, config)
    assert not world.hub.messages
    task = asyncio.create_task(membership(world, config).retire(within=60))
    assert await world.finish(task) == 0
    assert [event.name for event in world.hub.bodies("r1", Event)] == ["e0", "e1", "e2", "e3", "e4"]
    assert (world.hub.presence[-1].status, world.hub.presence[-1].reason) == ("offline", "retired")
    order = [m.topic.rpartition("/")[2] for m in world.broker.log]
    assert order[-1] == "presence"


async def test_robot_that_cannot_hand_over_is_not_retired_unless_it_may_leave_messages_behind(
    world: World, config: Config
) -> None:
    await with_a_backlog(world, config)
    world.hub.acknowledges = False
    task = asyncio.create_task(membership(world, config).retire(within=20))
    with pytest.raises(MembershipError, match="messages have not reached the hub within 20 s, so the robot is not"):
        await world.finish(task)
    assert "retired" not in [presence.reason for presence in world.hub.presence]
    task = asyncio.create_task(membership(world, config).retire(within=20, leave_behind=True))
    assert await world.finish(task) == 5
    assert world.hub.presence[-1].reason == "retired"


async def test_robot_that_comes_back_says_so_and_that_it_does_not_run_yet(world: World, config: Config) -> None:
    await membership(world, config).come_back()
    assert [(p.status, p.reason) for p in world.hub.presence] == [("online", "returned"), ("offline", "stopped")]
    assert len({p.session for p in world.hub.presence}) == 1


async def test_leaving_without_a_broker_says_so(world: World, config: Config) -> None:
    world.broker.down = True
    with pytest.raises(MembershipError, match="the hub could not be told by way of memory: the broker is down"):
        await membership(world, config).come_back()


async def test_robot_whose_edge_runs_cannot_retire_beside_it(world: World, config: Config) -> None:
    async with outbox(world, config):
        with pytest.raises(OutboxError, match="does the robot's edge run twice"):
            await membership(world, config).retire(within=1)
