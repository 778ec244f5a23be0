"""Robots: registration, introduction, presence in time, changes by people, removal."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from botyard.core.actor import HUB
from botyard.core.events import RobotChanged, RobotRemoved, RobotSeen
from botyard.fleet.fleet import UNDECIDED_FOR
from botyard.plugin import Access, AuthProvider, Connection
from botyard.store.base import Batch, Committed, StoreError
from botyard.testing import FakeRobot, RunningHub, VirtualClock, running_hub, wait_until
from botyard_schemas import topics
from tests.hub.support import get, make_flaky, quarantine, samples, stored, until_equal


async def presence(running: RunningHub, robot: str = "r") -> tuple[str, str]:
    found = (await get(running, f"robots/{robot}"))["status"]["presence"]
    return found["status"], found["reason"]


async def event_names(running: RunningHub, robot: str = "r") -> list[str]:
    """Events about a robot, the oldest first."""
    await running.transport.committed()
    return [event["name"] for event in (await get(running, "events", robot=robot))["items"]][::-1]


async def test_robot_registers_itself_on_first_contact(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await running.robot("picker-7").telemetry({"x": 1})
        robot = await get(running, "robots/picker-7")
        assert robot == {
            "id": "picker-7",
            "created": clock.now(),
            "spec": {"name": "picker-7", "type": "", "group": None, "tags": [], "notes": ""},
            "status": {
                "registration": "accepted",
                "logical": "idle",
                "presence": {
                    "status": "online",
                    "since": clock.now(),
                    "reason": "message",
                    "flapping": False,
                    "changes": 0,
                },
                "retired": None,
                "last_seen": clock.now(),
                "clock": None,
                "sync": None,
                "state": None,
                "state_ts": None,
            },
        }


async def test_robot_is_still_known_after_a_restart_with_its_last_state(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await running.robot("r").state(battery={"level": 0.25}, busy=True)
        before = await get(running, "robots/r")
    async with running_hub(tmp_path, clock=clock) as running:
        after = await get(running, "robots/r")
        wanted = {"status": "unknown", "since": None, "reason": None, "flapping": False, "changes": 0}
        assert after["status"]["presence"] == wanted
        assert after["status"]["logical"] == "offline"
        assert after["status"]["state"] == before["status"]["state"]
        assert after["status"]["state_ts"] == before["status"]["state_ts"]
        assert after["spec"] == before["spec"]


async def test_robot_introduces_itself_where_nobody_has_said_anything(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await running.api.post("/api/v1/robots", json={"id": "named", "name": "Otto", "type": "forklift"})
        for robot in ("named", "unnamed"):
            await running.robot(robot).state(about={"name": "Picker 7", "type": "diffdrive"})
        specs = {robot["id"]: robot["spec"] for robot in (await get(running, "robots"))["items"]}
        assert (specs["named"]["name"], specs["named"]["type"]) == ("Otto", "forklift")
        assert (specs["unnamed"]["name"], specs["unnamed"]["type"]) == ("Picker 7", "diffdrive")
        await running.transport.committed()
    async with running_hub(tmp_path) as running:
        assert (await get(running, "robots/unnamed"))["spec"]["name"] == "Picker 7"


async def test_robot_introduction_and_a_change_by_people_at_the_same_time_are_both_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = make_flaky(monkeypatch)
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence()
        real = flaky()._store.change_robot
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def slow(row: Any) -> None:
            entered.set()
            await go_on.wait()
            await real(row)

        flaky()._store.change_robot = slow
        patching = asyncio.create_task(running.api.patch("/api/v1/robots/r", json={"notes": "wet floor"}))
        await entered.wait()
        await robot.state(about={"name": "Picker 7", "type": "amr"})
        go_on.set()
        assert (await patching).json()["spec"] == {
            "name": "Picker 7",
            "type": "amr",
            "group": None,
            "tags": [],
            "notes": "wet floor",
        }
        await wait_until(lambda: not running.hub.fleet._rows.unsaved)
        await running.transport.committed()
    async with running_hub(tmp_path) as running:
        spec = (await get(running, "robots/r"))["spec"]
        assert (spec["name"], spec["type"], spec["notes"]) == ("Picker 7", "amr", "wet floor")


async def test_robot_changes_at_the_same_time_do_not_undo_each_other(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await running.robot("r").presence()
        changes = [{"notes": "n"}, {"group": "g"}, {"tags": ["a", "b"]}, {"name": "N"}, {"type": "t"}]
        await asyncio.gather(*(running.api.patch("/api/v1/robots/r", json=change) for change in changes))
        wanted = {"name": "N", "type": "t", "group": "g", "tags": ["a", "b"], "notes": "n"}
        assert (await get(running, "robots/r"))["spec"] == wanted
    async with running_hub(tmp_path) as running:
        assert (await get(running, "robots/r"))["spec"] == wanted


async def test_robot_that_falls_silent_is_stale_then_offline_and_comes_back(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock, fleet={"offline_after": 20}) as running:
        robot = running.robot("r")
        await robot.presence("online", interval=5)
        seen = []
        for _ in range(9):
            seen.append((await presence(running))[0])
            await clock.advance(5)
        # 3 missed heartbeats after 15 s, 20 s more until it is given up
        assert seen == ["online"] * 4 + ["stale"] * 4 + ["offline"]
        assert await presence(running) == ("offline", "silence")
        assert (await get(running, "robots/r"))["status"]["logical"] == "offline"
        await robot.telemetry({"x": 1})
        assert await presence(running) == ("online", "message")
        assert await event_names(running) == [
            "robot.registered",
            "robot.stale",
            "robot.offline",
            "robot.online",
        ]


async def test_robot_that_the_hub_only_remembers_is_offline_when_it_stays_silent(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await running.robot("r").presence()
    async with running_hub(tmp_path, clock=clock, fleet={"offline_after": 20}) as running:
        await clock.advance(3 * 30 + 20)
        assert (await presence(running))[0] == "unknown"
        await clock.advance(2)
        assert await presence(running) == ("offline", "silence")


async def test_robot_that_says_goodbye_is_offline_at_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence("online", session="one")
        await robot.presence("offline", session="one", reason="stopped")
        assert await presence(running) == ("offline", "stopped")
        await robot.telemetry({"x": 1})  # it was under way
        assert await presence(running) == ("offline", "stopped")


async def test_presence_that_the_broker_kept_is_no_sign_of_life(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence("online", session="one")
        await running.transport.committed()
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        topic = topics.presence("r")
        online, offline = (
            msgspec.json.encode(robot.message("presence", {"status": status, "session": "one", "reason": reason}))
            for status, reason in (("online", "heartbeat"), ("offline", "last_will"))
        )
        await running.transport.deliver(topic, online, retained=True)
        status = (await get(running, "robots/r"))["status"]
        assert (status["presence"]["status"], status["last_seen"]) == ("unknown", None)
        await running.transport.deliver(topic, offline, retained=True)
        status = (await get(running, "robots/r"))["status"]
        assert (status["presence"]["status"], status["last_seen"]) == ("offline", None)
        await running.transport.deliver(topic, online)
        assert await presence(running) == ("online", "connected")


async def test_presence_of_a_stranger_that_the_broker_kept_registers_nobody(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("ghost")
        said = msgspec.json.encode(robot.message("presence", {"status": "online", "session": "s"}))
        await running.transport.deliver(topics.presence("ghost"), said, retained=True)
        await running.transport.deliver(topics.presence("ghost"), b"")
        assert (await get(running, "robots"))["items"] == []
        assert (await get(running, "quarantine"))["items"] == []


async def test_robot_that_has_reconnected_is_not_taken_offline_by_its_old_last_will(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence("online", session="old")
        await robot.presence("online", session="new")
        await robot.presence("offline", session="old", reason="last_will")
        assert await presence(running) == ("online", "connected")
        await robot.presence("offline", session="new", reason="last_will")
        assert await presence(running) == ("offline", "last_will")


@pytest.mark.parametrize(
    ("fields", "logical"),
    [
        ({}, "idle"),
        ({"busy": False}, "idle"),
        ({"busy": True}, "busy"),
        ({"health": "warning", "busy": True}, "busy"),
        ({"health": "error", "busy": True}, "error"),
        ({"mode": "estop"}, "idle"),
    ],
)
async def test_robot_logical_status_follows_its_state_and_is_not_its_mode(
    tmp_path: Path, fields: dict[str, Any], logical: str
) -> None:
    async with running_hub(tmp_path) as running:
        await running.robot("r").state(**fields)
        status = (await get(running, "robots/r"))["status"]
        assert status["logical"] == logical
        assert status["state"]["mode"] == fields.get("mode", "auto")


async def test_robot_state_that_arrives_late_does_not_replace_a_newer_one(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        late = robot.message("state", {"mode": "auto", "health": "ok"})
        await robot.send("state", {"mode": "manual", "health": "ok"})
        await robot.post(late)
        assert (await get(running, "robots/r/state"))["state"]["mode"] == "manual"
        await running.transport.committed()
    async with running_hub(tmp_path) as running:
        assert (await get(running, "robots/r/state"))["state"]["mode"] == "manual"


async def test_robot_whose_clock_was_ahead_is_not_frozen_in_that_state(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        ahead = running.hub.clock.now() + 3_000_000_000
        await robot.send("state", {"mode": "manual", "health": "ok"}, ts=ahead)
        await robot.send("state", {"mode": "auto", "health": "ok"})
        assert (await get(running, "robots/r/state"))["state"]["mode"] == "auto"


async def test_fleet_tells_changes_from_signs_of_life(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        heard: list[str] = []
        for kind in (RobotChanged, RobotSeen, RobotRemoved):
            running.hub.bus.subscribe(kind, lambda event: heard.append(type(event).__name__))
        await robot.presence("online")
        assert heard == ["RobotChanged", "RobotChanged"]  # registered, online
        heard.clear()
        await robot.presence("online", reason="heartbeat")
        await robot.telemetry({"x": 1})
        assert heard == ["RobotSeen", "RobotSeen"]
        heard.clear()
        await robot.state()
        await running.api.delete("/api/v1/robots/r")
        assert heard == ["RobotChanged", "RobotRemoved"]


async def test_robot_that_is_removed_is_forgotten_with_everything_that_it_sent(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot, other = running.robot("r"), running.robot("other")
        for one in (robot, other):
            await one.post(samples(one, 1))
            await one.state()
            await one.event("n")
        await robot.send("telemetry", {"groups": []})  # refused
        await running.transport.committed()
        await robot.post(samples(robot, 2))  # not committed yet
        assert (await running.api.delete("/api/v1/robots/r")).status_code == 204
        await running.transport.committed()

        assert (await running.api.get("/api/v1/robots/r")).status_code == 404
        assert (await running.api.delete("/api/v1/robots/r")).status_code == 404
        assert await stored(running, "r") == []
        assert await quarantine(running, robot="r") == []
        assert "n" not in await event_names(running)
        assert await stored(running, "other") == [1]
        assert "n" in await event_names(running, "other")

        async def removals() -> list[tuple[str | None, str]]:
            found = (await get(running, "events", name="robot.removed"))["items"]
            return [(event["robot"], event["actor"]) for event in found]

        await until_equal(removals, [(None, "user:loopback")])  # the hub's own events are committed by themselves


async def test_robot_that_is_removed_while_it_sends_registers_again_and_the_hub_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path, ingest={"batch_age": 0.001}) as running:
        robot, other = running.robot("r"), running.robot("other")
        stop = asyncio.Event()

        async def talk(one: FakeRobot) -> int:
            while not stop.is_set():
                await one.post(samples(one, one.seq))
                await asyncio.sleep(0)
            return one.seq

        talking = [asyncio.create_task(talk(one)) for one in (robot, other)]
        statuses = []
        for _ in range(5):
            await asyncio.sleep(0.02)
            statuses.append((await running.api.delete("/api/v1/robots/r")).status_code)
        stop.set()
        sent = [await task for task in talking]
        await robot.post(samples(robot, -1))
        await running.transport.committed()
        assert set(statuses) <= {204, 404}
        assert statuses.count(204) >= 2
        assert (await get(running, "robots/r"))["status"]["presence"]["status"] == "online"
        assert other.acknowledged == sent[1]
        assert -1 in await stored(running, "r")


async def test_robot_removed_during_its_own_admission_does_not_end_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = make_flaky(monkeypatch)
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.presence()
        running.hub.fleet._admissions.clear()
        real = flaky()._store.remove_robot
        entered, go_on = asyncio.Event(), asyncio.Event()

        async def slow(robot: str) -> None:
            entered.set()
            await go_on.wait()
            await real(robot)

        flaky()._store.remove_robot = slow
        async with running.hub.fleet._doors.setdefault("r", asyncio.Lock()):  # another connection is asked about
            sending = asyncio.create_task(robot.post(samples(robot, 1)))
            await asyncio.sleep(0)
            removing = asyncio.create_task(running.api.delete("/api/v1/robots/r"))
            await entered.wait()
        assert (await sending).problem == "the robot is being removed"
        go_on.set()
        assert (await removing).status_code == 204
        await robot.post(samples(robot, 2))
        await running.transport.committed()
        assert await stored(running, "r") == [2]


async def test_robot_registered_by_people_is_accepted_when_strangers_are_not(tmp_path: Path) -> None:
    async with running_hub(tmp_path, fleet={"auto_accept": False}) as running:
        assert (await running.api.post("/api/v1/robots", json={"id": "r"})).status_code == 201
        robot = running.robot("r")
        await robot.post(samples(robot, 1))
        await running.transport.committed()
        assert await stored(running, "r") == [1]
        await robot.state(about={"name": "Picker 7"})
        assert (await get(running, "robots/r"))["spec"]["name"] == "Picker 7"


async def test_robot_that_is_removed_while_its_event_is_being_committed_does_not_end_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = make_flaky(monkeypatch)
    async with running_hub(tmp_path) as running:
        robot, other = running.robot("r"), running.robot("other")
        await robot.post(samples(robot, 1))
        await other.post(samples(other, 1))
        await running.transport.committed()
        real = flaky().commit
        entered, answer = asyncio.Event(), asyncio.Event()

        async def slow(batch: Batch) -> Committed:
            committed = await real(batch)  # it is in the database; only the answer takes a moment
            entered.set()
            await answer.wait()
            return committed

        monkeypatch.setattr(flaky(), "commit", slow)
        await robot.event("docking.failed")
        await entered.wait()
        removing = asyncio.create_task(running.hub.fleet.remove("r", HUB))
        await asyncio.sleep(0)
        answer.set()
        await removing
        await other.post(samples(other, 2))
        await running.transport.committed()
        assert other.acknowledged == 2
        assert await stored(running, "r") == []
        assert "docking.failed" not in await event_names(running)


async def test_robot_that_cannot_be_removed_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flaky = make_flaky(monkeypatch)
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        await robot.post(samples(robot, 1))
        await running.transport.committed()

        async def refuse(_robot: str) -> None:
            raise StoreError("the disk is full")

        monkeypatch.setattr(flaky(), "remove_robot", refuse)
        await robot.post(samples(robot, 2))
        with pytest.raises(StoreError, match="the disk is full"):
            await running.hub.fleet.remove("r", HUB)
        await robot.post(samples(robot, 3))
        await running.transport.committed()
        assert robot.acknowledged == 3
        assert await stored(running, "r") == [1, 2, 3]


async def test_robot_is_not_refused_because_the_access_check_failed_for_a_moment(tmp_path: Path) -> None:
    class Away(AuthProvider):
        away = False

        async def authenticate(self, connection: Connection) -> Access | None:
            if self.away:
                raise OSError("the directory server does not answer")
            return None

    provider = Away()
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        running.hub.fleet._auth = [provider, *running.hub.auth]
        robot = running.robot("r")
        await robot.presence(session="s1")
        await robot.post(samples(robot, 1))
        await running.transport.committed()
        provider.away = True
        assert (await robot.presence(session="s2")).outcome == "waiting"
        provider.away = False
        await clock.advance(UNDECIDED_FOR)
        assert (await robot.presence(session="s2")).outcome == "committed"
        await robot.post(samples(robot, 2))
        await running.transport.committed()
        assert await stored(running, "r") == [1, 2]
        assert await quarantine(running) == []
