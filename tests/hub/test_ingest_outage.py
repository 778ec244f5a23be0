"""What the hub does while its store cannot write."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from botyard.testing import RunningHub, VirtualClock, running_hub, wait_until
from tests.hub.support import FlakyStore, get, make_flaky, samples, stored


@asynccontextmanager
async def outage(running: RunningHub, store: FlakyStore) -> AsyncIterator[None]:
    """The store fails in the block, and works again afterwards."""
    await running.transport.committed()
    await wait_until(lambda: running.hub.ingest and running.hub.ingest._committer.batch.empty)
    store.broken = True
    try:
        yield
    finally:
        store.broken = False


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Callable[[], FlakyStore]:
    return make_flaky(monkeypatch)


def said(caplog: pytest.LogCaptureFixture, text: str) -> int:
    return sum(text in record.getMessage() for record in caplog.records if record.levelno >= logging.INFO)


async def test_outage_nothing_is_acknowledged_until_the_store_writes_again_and_it_is_said_once(
    tmp_path: Path, flaky: Callable[[], FlakyStore], caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    with caplog.at_level(logging.INFO):
        async with running_hub(tmp_path, clock=clock) as running:
            robot = running.robot("r")
            await robot.post(samples(robot, 1))
            async with outage(running, flaky()):
                attempts = flaky().commits
                receipts = [await robot.post(samples(robot, n)) for n in (2, 3)]
                while flaky().commits < attempts + 5:
                    await clock.advance(5)
                    await asyncio.sleep(0.01)
                assert robot.acknowledged == 1
                assert not any(receipt.done and receipt.done.done() for receipt in receipts)
                assert await stored(running, "r") == [1]  # reading is served meanwhile
            await recover(running, clock)
            assert robot.acknowledged == 3
            assert sorted(await stored(running, "r")) == [1, 2, 3]
    assert said(caplog, "nothing can be committed, so nothing is acknowledged: the disk is full, on purpose") == 1
    assert said(caplog, "committing works again") == 1


async def recover(running: RunningHub, clock: VirtualClock) -> None:
    done = asyncio.create_task(running.transport.committed())
    while not done.done():
        await clock.advance(5)
        await asyncio.sleep(0.01)
    await done


async def test_outage_memory_stays_bounded_since_receiving_waits(
    tmp_path: Path, flaky: Callable[[], FlakyStore]
) -> None:
    clock = VirtualClock()
    limit = 200
    async with running_hub(tmp_path, clock=clock, ingest={"batch_samples": limit}) as running:
        robot = running.robot("r")
        await robot.post(samples(robot, 0))
        async with outage(running, flaky()):
            taken = 0

            async def pour() -> None:
                nonlocal taken
                for n in range(1000):
                    await robot.post(samples(robot, n))
                    taken += 1

            pouring = asyncio.create_task(pour())
            before = -1
            while taken > before:
                before = taken
                await clock.advance(1)
                await asyncio.sleep(0.02)
            # each costs 1 for its sample and 4 for itself; one batch is being committed and one waits
            assert taken <= 2 * 2 * limit / 5 + 2
            assert running.hub.ingest
            assert running.hub.ingest._committer.batch.cost < 2 * limit + 5
        while not pouring.done():
            await clock.advance(5)
            await asyncio.sleep(0.01)
        await recover(running, clock)
        assert robot.acknowledged == 1001
        assert len((await get(running, "readings", robot="r", limit=2000))["items"]) == 1001


async def test_outage_a_robot_that_is_new_is_registered_afterwards_and_nothing_of_it_is_lost(
    tmp_path: Path, flaky: Callable[[], FlakyStore], caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = running.robot("new")
        async with outage(running, flaky()):
            sending = asyncio.create_task(robot.post(samples(robot, 1)))
            for _ in range(20):
                await clock.advance(5)
                await asyncio.sleep(0)
            assert not sending.done()
            assert (await running.api.get("/api/v1/robots/new")).status_code == 404
        while not sending.done():
            await clock.advance(5)
            await asyncio.sleep(0.01)
        await recover(running, clock)
        assert robot.acknowledged == 1
        assert await stored(running, "new") == [1]
    assert said(caplog, "robot new cannot be registered yet: the disk is full, on purpose") == 1


async def test_outage_what_a_robot_calls_itself_is_saved_afterwards(
    tmp_path: Path, flaky: Callable[[], FlakyStore], caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = running.robot("r")
        await robot.presence()
        async with outage(running, flaky()):
            await robot.state(about={"name": "Picker 7", "type": "diffdrive"})
            for _ in range(5):
                await clock.advance(2)
        await recover(running, clock)
        await clock.advance(2)
        assert said(caplog, "is not saved yet") == 1
    async with running_hub(tmp_path) as running:
        spec = (await get(running, "robots/r"))["spec"]
        assert (spec["name"], spec["type"]) == ("Picker 7", "diffdrive")


async def test_outage_changes_by_people_are_refused_with_a_sentence(
    tmp_path: Path, flaky: Callable[[], FlakyStore]
) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await running.robot("r").presence()
        async with outage(running, flaky()):
            requests: list[tuple[str, str, Any]] = [
                ("POST", "robots", {"id": "other"}),
                ("PATCH", "robots/r", {"name": "New"}),
                ("DELETE", "robots/r", None),
            ]
            for method, path, body in requests:
                answer = await running.api.request(method, f"/api/v1/{path}", json=body)
                assert answer.status_code == 503
                assert answer.json()["detail"] == "the store cannot answer now: the disk is full, on purpose"
        assert (await get(running, "robots/r"))["spec"]["name"] == "r"
        assert (await running.api.patch("/api/v1/robots/r", json={"name": "New"})).status_code == 200


async def test_outage_telemetry_over_http_is_not_promised(
    tmp_path: Path, flaky: Callable[[], FlakyStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.web.readings.COMMITTED_WITHIN", 0.2)
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = running.robot("r")
        await robot.presence()
        for known in ("r", "stranger"):
            async with outage(running, flaky()):
                message = samples(running.robot(known, epoch="http"), 1)
                answer = await running.api.post("/api/v1/telemetry", json=message)
                assert answer.status_code == 503
                assert "send the messages again" in answer.json()["detail"]
            await recover(running, clock)
            while (again := await running.api.post("/api/v1/telemetry", json=message)).status_code == 503:
                await clock.advance(5)
            assert again.status_code == 200
            assert await stored(running, known) == [1]


async def test_outage_that_lasts_until_the_stop_does_not_keep_the_hub_from_stopping(
    tmp_path: Path, flaky: Callable[[], FlakyStore], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.ingest.committer.END_WITHIN", 0.1)
    async with asyncio.timeout(20):
        async with running_hub(tmp_path) as running:
            robot = running.robot("r")
            await robot.post(samples(robot, 1))
            await running.transport.committed()
            flaky().broken = True
            await robot.post(samples(robot, 2))
    assert robot.acknowledged == 1
    assert said(caplog, "the store did not take the last messages within 0.1 s") == 1
    assert running.hub.ingest
    assert running.hub.ingest.left == 1
    async with running_hub(tmp_path) as running:
        again = running.robot("r")
        for value in (1, 2):
            await again.post(samples(again, value))
        await running.transport.committed()
        assert sorted(await stored(running, "r")) == [1, 2]


async def test_store_processes_that_are_killed_are_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    async with running_hub(tmp_path, processes=True) as running:
        writer = running.hub.store._writer  # type: ignore[attr-defined]
        reader = running.hub.store._reader  # type: ignore[attr-defined]
        robot = running.robot("r")
        await robot.post(samples(robot, 1))
        reader._kill()
        writer._kill()
        await robot.post(samples(robot, 2))
        await running.transport.committed()
        await wait_until_ready(running)
        assert sorted(await stored(running, "r")) == [1, 2]
        assert robot.acknowledged == 2


async def wait_until_ready(running: RunningHub) -> None:
    async with asyncio.timeout(20):
        while (await running.api.get("/readyz")).status_code != 200:  # noqa: ASYNC110 - it has to be asked
            await asyncio.sleep(0.02)
