"""A robot whose presence comes and goes: what is told of it, and what is shown."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from botyard.core.events import RobotChanged
from botyard.fleet.flapping import CHANGES, WINDOW, Flapping
from botyard.testing import RunningHub, VirtualClock, running_hub
from tests.hub.support import get, noted


async def told(running: RunningHub) -> list[str]:
    await noted(running)
    return [e["name"] for e in (await get(running, "events", robot="r"))["items"]][::-1]


async def test_flapping_robot_is_said_to_flap_once_counted_and_settled_once(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = running.robot("r")
        heard: list[str] = []
        await robot.presence("online", interval=100)
        running.hub.bus.subscribe(RobotChanged, lambda event: heard.append(event.robot))
        for n in range(100):
            await robot.presence("offline" if n % 2 == 0 else "online", reason="last_will", interval=100)
            shown = (await get(running, "robots/r"))["status"]["presence"]["status"]
            assert shown == ("offline" if n % 2 == 0 else "online")
            await clock.advance(0.1)
        presence = (await get(running, "robots/r"))["status"]["presence"]
        assert (presence["flapping"], presence["changes"]) == (True, 100)
        assert len(heard) < 20, "6 changes, and once a second from then on"
        before = len(heard)
        await clock.advance(WINDOW - 2)
        assert (await told(running))[-1] == "robot.flapping"
        await clock.advance(3)
        presence = (await get(running, "robots/r"))["status"]["presence"]
        assert (presence["status"], presence["flapping"], presence["changes"]) == ("online", False, 0)
        assert len(heard) - before <= 2
        ordinary = ["robot.offline", "robot.online"] * (CHANGES // 2)
        assert await told(running) == ["robot.registered", *ordinary[:-1], "robot.flapping", "robot.settled"]
        settled = (await get(running, "events", robot="r", name="robot.settled"))["items"][0]
        assert settled["message"] == "is online (connected) and has settled after 100 changes of presence in 10 s"
        assert settled["data"] == {"status": "online", "changes": 100, "seconds": 9.9}


async def test_robot_that_flaps_slowly_is_told_of_every_time(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = running.robot("r")
        await robot.presence("online", interval=100)
        for n in range(10):
            await clock.advance(WINDOW / (CHANGES - 1) + 1)
            await robot.presence("offline" if n % 2 == 0 else "online", interval=100)
        assert await told(running) == ["robot.registered", *["robot.offline", "robot.online"] * 5]


@given(st.lists(st.floats(0.01, 200), max_size=60))
def test_flapping_is_told_at_most_once_a_window_and_no_change_is_lost(pauses: list[float]) -> None:
    flapping = Flapping()
    now, seen, alone, begun, settled, counted = 0.0, 0, 0, 0, 0, 0
    for pause in pauses:
        until = now + pause
        while now < until:
            now = min(until, now + 1.0)
            if end := flapping.on_time(now):
                settled += 1
                counted += end.changes - CHANGES  # the first were told of one by one
        seen += 1
        if flapping.on_change(now):
            begun += 1
            alone += 1
        elif not flapping.active:
            alone += 1
    while flapping.active:
        now += 1.0
        if end := flapping.on_time(now):
            settled += 1
            counted += end.changes - CHANGES
    assert begun == settled
    assert alone + counted == seen
    assert alone <= now / WINDOW * CHANGES + CHANGES
