"""Robots that are being let in hold up nobody but themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from botyard.core.actor import HUB
from botyard.ingest import lobby
from botyard.plugin import Access, AuthProvider, Connection, Inbound
from botyard.testing import FakeRobot, RunningHub, running_hub, wait_until
from tests.hub.support import counters, samples, stored


class Doorkeeper(AuthProvider):
    """Answers for a robot whose name begins with `slow` only once it is told to."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.asked: list[str] = []

    async def authenticate(self, connection: Connection) -> Access | None:
        if connection.robot and connection.robot.startswith("slow"):
            self.asked.append(connection.robot)
            await self.answer.wait()
        return None


@asynccontextmanager
async def hub_with_doorkeeper(folder: Path) -> AsyncIterator[tuple[RunningHub, Doorkeeper]]:
    doorkeeper = Doorkeeper()
    async with running_hub(folder) as running:
        running.hub.fleet._auth = [doorkeeper, *running.hub.auth]
        yield running, doorkeeper


def inbound(running: RunningHub, robot: FakeRobot, *values: int) -> Inbound:
    """The robot's next telemetry, as a transport that reads many at once hands it over."""
    message = samples(robot, *values)
    topic = f"botyard/v1/{message['robot']}/up/telemetry"
    return Inbound(topic, msgspec.json.encode(message), running.hub.clock.now(), "memory")


async def receive(running: RunningHub, messages: list[Inbound]) -> None:
    """Hand several messages over, as a transport does."""
    assert running.hub.ingest
    await running.hub.ingest.receive_all(messages)


async def test_robots_in_the_same_group_go_on_while_another_is_let_in(tmp_path: Path) -> None:
    async with hub_with_doorkeeper(tmp_path) as (running, doorkeeper):
        slow, other, known = (running.robot(name) for name in ("slow", "other", "known"))
        await known.post(samples(known, 0))
        messages = []
        for n in range(1, 4):
            messages += [inbound(running, robot, n) for robot in (slow, known, other)]
        async with asyncio.timeout(2):  # far less than a provider may take
            await receive(running, messages)
            await wait_until(lambda: (known.acknowledged, other.acknowledged) == (4, 3))
        assert slow.acknowledged == 0
        await receive(running, [inbound(running, slow, 4)])
        doorkeeper.answer.set()
        await wait_until(lambda: slow.acknowledged == 4)
        assert doorkeeper.asked == ["slow"]
        assert await stored(running, "slow") == [1, 2, 3, 4]
        assert await stored(running, "known") == [0, 1, 2, 3]
        assert (await counters(running)).get("out_of_order", 0) == 0


async def test_robots_are_asked_about_at_the_same_time(tmp_path: Path) -> None:
    async with hub_with_doorkeeper(tmp_path) as (running, doorkeeper):
        robots = [running.robot(f"slow-{n}") for n in range(20)]
        posting = [asyncio.create_task(robot.post(samples(robot, 1))) for robot in robots]
        await wait_until(lambda: len(doorkeeper.asked) == 20)
        doorkeeper.answer.set()
        assert {(await post).outcome for post in posting} == {"committed"}


async def test_message_for_which_the_lobby_has_no_room_is_not_acknowledged_and_comes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobby, "MOST_OF_ONE", 2000)
    monkeypatch.setattr(lobby, "PATIENCE", 0.05)
    async with hub_with_doorkeeper(tmp_path) as (running, doorkeeper):
        slow = running.robot("slow")
        messages = [inbound(running, slow, n) for n in range(10)]
        await receive(running, messages)
        waiting = (await counters(running))["waits_for_access"]
        assert 0 < waiting < 10
        doorkeeper.answer.set()
        await wait_until(lambda: slow.acknowledged == 10 - waiting)
        await receive(running, messages)
        await wait_until(lambda: slow.acknowledged == 10)
        assert await stored(running, "slow") == list(range(10))


async def test_new_robot_that_sends_as_fast_as_it_can_loses_nothing_while_it_is_let_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobby, "MOST_OF_ONE", 500_000)
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        messages = [inbound(running, robot, n) for n in range(3000)]
        for at in range(0, len(messages), 200):
            await receive(running, messages[at : at + 200])
            await asyncio.sleep(0)
        await wait_until(lambda: robot.acknowledged == len(messages))
        assert "waits_for_access" not in await counters(running)


async def test_many_new_robots_are_let_in_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lobby, "AT_ONCE", 10)
    async with running_hub(tmp_path) as running:
        robots = [running.robot(f"r{n}") for n in range(100)]
        assert running.hub.ingest
        most = 0
        for robot in robots:
            await receive(running, [inbound(running, robot, 1)])
            most = max(most, len(running.hub.ingest._lobby))
        await wait_until(lambda: all(robot.acknowledged == 1 for robot in robots))
        assert most == 10


async def test_new_robots_go_on_while_those_before_them_are_never_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lobby, "AT_ONCE", 10)
    monkeypatch.setattr(lobby, "PATIENCE", 0.05)
    async with hub_with_doorkeeper(tmp_path) as (running, doorkeeper):
        await receive(running, [inbound(running, running.robot(f"slow-{n}"), 1) for n in range(20)])
        other = running.robot("other")
        await receive(running, [inbound(running, other, 1)])
        await wait_until(lambda: other.acknowledged == 1)
        assert len(doorkeeper.asked) == 20
        doorkeeper.answer.set()


async def test_hub_that_stops_while_robots_wait_acknowledges_none_of_their_messages(tmp_path: Path) -> None:
    async with hub_with_doorkeeper(tmp_path) as (running, doorkeeper):
        slow = running.robot("slow")
        message = inbound(running, slow, 1)
        await receive(running, [message])
        await wait_until(lambda: doorkeeper.asked)
        doorkeeper.answer.set()  # only so that nobody waits for the provider's time to pass
    async with running_hub(tmp_path) as running:
        await receive(running, [message])
        again = running.robot("slow")
        await wait_until(lambda: again.acknowledged == 1)
        assert await stored(running, "slow") == [1]


async def test_robot_that_may_no_longer_take_part_is_not_taken_in_on_the_short_way(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot, fleet = running.robot("r"), running.hub.fleet
        for n in (1, 2, 3):
            await receive(running, [inbound(running, robot, n)])
            await wait_until(lambda n=n: robot.acknowledged == n)  # type: ignore[misc]
        await fleet.change("r", {"accepted": False}, HUB)
        await receive(running, [inbound(running, robot, 4)])
        await wait_until(lambda: running.hub.ingest and "r" not in running.hub.ingest._lobby)
        await fleet.change("r", {"accepted": True}, HUB)
        await receive(running, [inbound(running, robot, 5)])
        await running.transport.committed()
        await wait_until(lambda: robot.acks[-1].beyond or robot.acknowledged == 5)
        assert await stored(running, "r") == [1, 2, 3, 5]
