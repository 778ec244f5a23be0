"""The test tools for authors of plugins."""

import asyncio
from pathlib import Path

import pytest

from botyard.testing import MemoryTransport, VirtualClock, hub_config, running_hub, wait_until


async def test_virtual_clock_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock(start=1_000)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *seconds: float) -> None:
        for pause in seconds:
            await clock.sleep(pause)
            woken.append((name, clock.monotonic()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("a", 2.0, 2.0))
        tasks.create_task(sleeper("b", 1.0, 1.0, 5.0))
        await clock.advance(0.5)
        assert woken == []
        await clock.advance(3.5)
        assert woken == [("b", 1.0), ("a", 2.0), ("b", 2.0), ("a", 4.0)]
        assert (clock.now(), clock.monotonic()) == (4_001_000, 4.0)
        await clock.advance(3.0)
        assert woken[-1] == ("b", 7.0)


async def test_virtual_clock_passes_over_sleepers_that_were_cancelled() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(1.0))
    await clock.advance(0.5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await clock.advance(5.0)
    assert clock.monotonic() == 5.5
    await clock.sleep(0)
    await clock.sleep(-1)


async def test_wait_until_gives_up_after_its_time() -> None:
    with pytest.raises(TimeoutError):
        await wait_until(lambda: False, within=0.02)


async def test_memory_transport_that_no_hub_has_says_so() -> None:
    transport = MemoryTransport("mine")
    with pytest.raises(RuntimeError, match="'mine' was not given to a hub yet"):
        await transport.deliver("t", b"")
    with pytest.raises(RuntimeError, match="'mine' was not given to a hub yet"):
        transport.connect()
    await transport.committed()


async def test_memory_transport_that_is_disconnected_sends_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        running.transport.disconnect("gone")
        await robot.telemetry({"x": 1})
        await running.transport.committed()
        assert robot.acks == []


async def test_fake_robot_numbers_its_messages_and_guesses_types(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r", epoch="e2")
        message = robot.message("event", {"name": "n", "severity": "info"}, ts=5)
        assert (message["epoch"], message["seq"], message["ts"], robot.seq) == ("e2", 1, 5, 1)
        assert "seq" not in robot.message("presence", {})
        await robot.telemetry({"a": True, "b": 1, "c": 1.5, "d": "x", "e": {"f": None}})
        await running.transport.committed()
        channels = (await running.api.get("/api/v1/robots/r/channels")).json()["items"]
        assert [channel["type"] for channel in channels] == ["boolean", "integer", "number", "text", "object"]


def test_hub_config_is_on_free_ports_of_this_machine(tmp_path: Path) -> None:
    config = hub_config(tmp_path, web={"allowed_hosts": ["x"]}, fleet={"auto_accept": False})
    assert (config.web.port, config.broker.port, config.web.host) == (0, 0, "127.0.0.1")
    assert config.web.allowed_hosts == ["x"]
    assert config.fleet.auto_accept is False
    assert config.data == tmp_path / "data"
