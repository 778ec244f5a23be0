"""The store without processes of its own, and with it a hub in virtual time."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from botyard.core.hub import Hub
from botyard.plugin.manager import build_plugin_manager
from botyard.store.base import StoreError
from botyard.store.sqlite import SqliteStore
from botyard.testing import PLUGINS, FakeRobot, MemoryTransport, hub_config
from botyard_schemas import virtual
from botyard_schemas.virtual import LoopClock
from tests.hub.support import Column, filled
from tests.hub.test_hub import children

THREE = Column("r", "x", "number", None, [1, 2, 3], [0.5, 1.5, 2.5])


async def test_store_without_processes_starts_none_and_keeps_what_it_got(tmp_path: Path) -> None:
    before = children()
    async with SqliteStore(tmp_path / "hub.db", processes=False) as store:
        await store.commit(filled([THREE]))
        await store.compact()
        assert children() == before
    async with SqliteStore(tmp_path / "hub.db") as store:
        assert len((await store.samples(robots=["r"])).items) == 3


async def test_store_without_processes_is_closed_and_locked_as_any_other(tmp_path: Path) -> None:
    async with SqliteStore(tmp_path / "hub.db", processes=False) as store:
        with pytest.raises(StoreError, match="another hub is using"):
            async with SqliteStore(tmp_path / "hub.db", processes=False):
                pass
    with pytest.raises(StoreError, match="the SQLite writer is closed"):
        await store.commit(filled([THREE]))


def test_hub_in_virtual_time_runs_the_same_way_each_time(tmp_path: Path) -> None:
    async def morning(folder: Path) -> list[Any]:
        clock = LoopClock(asyncio.get_running_loop())
        transport = MemoryTransport()
        plugins = build_plugin_manager(defaults=PLUGINS)
        plugins.register(transport)
        config = hub_config(folder, roles=["ingest"])
        async with Hub(config, clock=clock, plugins=plugins, processes=False) as hub:
            robot = FakeRobot("r", transport, clock)
            for hour in range(6):
                await robot.telemetry({"x": hour})
                await clock.sleep(3600.0)
            events = (await hub.store.events(limit=200)).items
            samples = (await hub.store.samples(robots=["r"], limit=200)).items
        said = [(event.ts, event.robot, event.name, event.message) for event in events]
        return [*said, *((sample.ts, sample.value) for sample in samples), robot.acknowledged]

    first, second = (virtual.run(morning(tmp_path / name)) for name in ("first", "second"))
    assert first == second
    assert first[-1] == 6
    assert {name for _, _, name, _ in (row for row in first[:-1] if len(row) == 4)} >= {"robot.stale", "robot.offline"}
