"""A heartbeat that tells nothing new goes a short way, and does there what it does on the long one."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard.core.actor import HUB
from botyard.fleet.record import RobotRecord
from botyard.plugin.api import Inbound
from botyard.testing import FakeRobot, VirtualClock, running_hub, wait_until
from botyard_schemas import topics


def presence(robot: FakeRobot, at: int, *, retained: bool = False, **body: Any) -> Inbound:
    raw = robot.message("presence", {"status": "online", "session": "s1", "reason": "heartbeat", **body})
    return Inbound(topics.presence(robot.id), msgspec.json.encode(raw), at, "memory", None, retained)


def known(record: RobotRecord | None) -> tuple[object, ...]:
    return (replace(record.presence), record.last_seen, record.transport, record.retired) if record else ()


@pytest.mark.parametrize("seed", range(2))
async def test_heartbeats_on_the_short_way_leave_the_same_behind_as_on_the_long_one(tmp_path: Path, seed: int) -> None:
    clock, dice = VirtualClock(), random.Random(seed)
    async with running_hub(tmp_path, clock=clock) as running:
        assert running.hub.ingest
        ingest, fleet = running.hub.ingest, running.hub.fleet
        short, long = running.robot("short"), running.robot("long")
        long_way, taken = ingest.receive, []

        async def noted(message: Inbound, token: str | None = None) -> Any:
            taken.append(message)
            return await long_way(message, token)

        ingest.receive = noted  # type: ignore[method-assign]
        for _ in range(300):
            await clock.advance(dice.choice((0.1, 1.0, 5.0, 20.0, 60.0)))
            body: dict[str, Any] = {"status": dice.choice(("online",) * 30 + ("offline",))}
            body["session"] = dice.choice(("s1",) * 30 + ("s2",))
            body["reason"] = dice.choice(("heartbeat",) * 30 + ("connected", "retired", "returned", "returned"))
            body["interval"] = dice.choice((5.0,) * 30 + (10.0,))
            retained = dice.random() < 0.03
            await ingest.receive_all([presence(short, clock.now(), retained=retained, **body)])
            await wait_until(lambda: "short" not in ingest._lobby)
            await long_way(presence(long, clock.now(), retained=retained, **body))
            if dice.random() < 0.03 and fleet.get("short"):
                accepted = dice.random() < 0.8
                for name in ("short", "long"):
                    await fleet.change(name, {"accepted": accepted}, HUB)
            assert known(fleet.get("short")) == known(fleet.get("long"))
        assert 50 < len(taken) < 270, "some went the short way, and some the long one"


async def test_heartbeat_of_a_robot_that_fell_silent_brings_it_back(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        assert running.hub.ingest
        robot = running.robot("r")
        for pause, status in ((0.0, "online"), (5.0, "online"), (120.0, "offline")):
            if status == "online":
                await running.hub.ingest.receive_all([presence(robot, clock.now(), interval=5.0)])
                await wait_until(lambda: running.hub.fleet.get("r"))
            await clock.advance(pause)
        record = running.hub.fleet.get("r")
        assert record
        lost = record.presence.status
        assert lost == "offline"
        await running.hub.ingest.receive_all([presence(robot, clock.now(), interval=5.0)])
        assert record.presence.status == "online"
