"""A robot's calibration as the hub knows it: from its state and its events, and changed by commands."""

import asyncio
import gc
import time
from pathlib import Path
from typing import Any

from botyard.store.base import Batch, EventRow
from botyard.testing import FakeRobot, RunningHub, VirtualClock, running_hub
from tests.hub.support import get, problem

LINEAR = {"kind": "linear", "channel": "f", "offset": 0.5, "scale": 2.0}


def profile(version: int, name: str = "force", **changes: Any) -> dict[str, Any]:
    return {"name": name, "correction": LINEAR, "version": version, "when": version, "who": "anna", **changes}


async def told(running: RunningHub, robot: FakeRobot, name: str, **data: Any) -> None:
    await robot.event(f"calibration.{name}", data=data)
    await running.transport.committed()


async def state(running: RunningHub, robot: FakeRobot, **versions: int) -> None:
    profiles = {name: {"version": version, "status": "applied"} for name, version in versions.items()}
    calibration = {"hash": "0123456789abcdef", "profiles": profiles}
    await robot.state(mode="auto", health="ok", calibration=calibration)
    await running.transport.committed()


async def test_calibration_is_put_together_from_state_and_events(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        robot = running.robot("r")
        await told(running, robot, "changed", profile=profile(1))
        await told(running, robot, "changed", profile=profile(2, restores=1, correction=None))
        await told(running, robot, "changed", profile=profile(3))
        await state(running, robot, force=3)
        found = await get(running, "robots/r/calibration")
        assert found["hash"] == "0123456789abcdef"
        (one,) = found["profiles"]
        assert (one["name"], one["version"], one["status"], one["missing"]) == ("force", 3, "applied", [])
        assert [version["version"] for version in one["versions"]] == [3, 2, 1]
        assert one["versions"][0]["correction"] == LINEAR
        assert (one["versions"][1]["correction"], one["versions"][1]["restores"]) == (None, 1)


async def test_versions_that_the_hub_never_heard_of_are_named(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        robot = running.robot("r")
        await told(running, robot, "loaded", profiles=[profile(4), profile(2, "other")])
        await state(running, robot, force=4, other=2, silent=1)
        by_name = {one["name"]: one for one in (await get(running, "robots/r/calibration"))["profiles"]}
        assert by_name["force"]["missing"] == [1, 2, 3]
        assert by_name["other"]["missing"] == [1]
        assert (by_name["silent"]["versions"], by_name["silent"]["missing"]) == ([], [1])
        for version in (1, 2, 3):
            await told(running, robot, "versions", profiles=[profile(version)])
        by_name = {one["name"]: one for one in (await get(running, "robots/r/calibration"))["profiles"]}
        assert by_name["force"]["missing"] == []


async def test_history_that_begins_again_hides_what_was_before(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        robot = running.robot("r")
        for version in (1, 2):
            await told(running, robot, "changed", profile=profile(version, who="old"))
        await told(running, robot, "changed", profile=profile(1, who="new"))
        await state(running, robot, force=1)
        (one,) = (await get(running, "robots/r/calibration"))["profiles"]
        assert [(version["version"], version["who"]) for version in one["versions"]] == [(1, "new")]


async def test_events_that_hold_rubbish_are_passed_over(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        robot = running.robot("r")
        rubbish: list[dict[str, Any]] = [
            {"profile": 7},
            {"profile": {"name": 7}},
            {"profile": {"name": ["force"], "version": {}}},
            {"profiles": {}},
            {"profiles": [None, [], {}]},
            {},
        ]
        for data in rubbish:
            await told(running, robot, "changed", **data)
        await told(running, robot, "changed", profile=profile(1))
        found = await get(running, "robots/r/calibration")
        assert [one["name"] for one in found["profiles"]] == ["force"]
        assert (found["hash"], found["ts"]) == (None, None)


async def test_hub_does_not_stand_still_for_the_history_of_a_robot_that_was_started_often(tmp_path: Path) -> None:
    starts = 400
    profiles = [profile(1, f"p{n}", note="x" * 500) for n in range(64)]
    rows = [
        EventRow(
            ts=n, robot="r", actor="robot:r", name="calibration.loaded", severity="info", data={"profiles": profiles}
        )
        for n in range(starts)
    ]
    longest = began = time.thread_time()

    async def watch() -> None:
        nonlocal longest
        longest, last = 0.0, time.thread_time()
        while True:
            await asyncio.sleep(0)
            longest, last = max(longest, time.thread_time() - last), time.thread_time()

    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await running.robot("r").state(mode="auto", health="ok")
        await running.transport.committed()
        for at in range(0, starts, 40):
            await running.hub.store.commit(Batch(events=rows[at : at + 40]))
        await get(running, "robots/r/calibration")  # what is done once only is done by now
        gc.disable()  # a look at all that other tests have left takes longer than any page
        try:
            watching, began = asyncio.create_task(watch()), time.thread_time()
            assert len((await get(running, "robots/r/calibration"))["profiles"]) == 64
            whole = time.thread_time() - began
        finally:
            gc.enable()
        watching.cancel()
    # By the processor's time, so that nobody else on the machine counts.
    assert longest < whole / 4


async def test_robot_without_calibration_has_none_and_a_stranger_is_not_found(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        robot = running.robot("r")
        await robot.state(mode="auto", health="ok")
        await running.transport.committed()
        assert await get(running, "robots/r/calibration") == {"robot": "r", "hash": None, "ts": None, "profiles": []}
        assert (await problem(running, "GET", "/api/v1/robots/nobody/calibration"))["status"] == 404
