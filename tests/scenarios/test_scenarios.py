"""Whole fleets in virtual time: nothing is lost whatever goes wrong, and the same seed gives the same log."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botyard.store.sqlite import SqliteStore
from botyard_plugins.simulation.ledger import Ledger
from botyard_plugins.simulation.scenario import Scenario, faults, load
from botyard_plugins.simulation.world import Outcome, simulate
from botyard_schemas import virtual
from botyard_schemas.settings import SettingsError

SCENARIOS = sorted(Path(__file__).parent.glob("*.yaml"))


def run(scenario: Scenario, folder: Path, seed: int = 7) -> Outcome:
    folder.mkdir(exist_ok=True)
    return simulate(scenario, seed, folder)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_scenario_loses_and_doubles_nothing_and_happens_the_same_way_again(path: Path, tmp_path: Path) -> None:
    scenario = load(path)
    first, second = (run(scenario, tmp_path / name) for name in ("first", "second"))
    assert [invariant for invariant in first.report.invariants if not invariant.holds] == []
    assert first.report.samples > scenario.robots * scenario.seconds
    assert first.report.events["robot.registered"] == scenario.robots
    assert first.report.faults.keys() == {line.fault for line in scenario.faults}
    assert first.log == second.log


def test_there_are_scenarios_for_every_fault() -> None:
    known: list[str] = load_schema()["properties"]["faults"]["items"]["properties"]["fault"]["enum"]
    assert len(SCENARIOS) >= 12
    assert {line.fault for path in SCENARIOS for line in load(path).faults} == set(known)


def load_schema() -> Any:
    from botyard_plugins.simulation.scenario import schema

    return schema()


def test_scenario_with_another_seed_happens_in_another_way(tmp_path: Path) -> None:
    scenario = load(SCENARIOS[0].with_name("link-loss.yaml"), seconds=30.0)
    assert run(scenario, tmp_path / "first").log != run(scenario, tmp_path / "second", seed=8).log


def test_faults_are_seen_by_the_fleet(tmp_path: Path) -> None:
    """What a scenario injects has consequences, or its invariants would say nothing."""
    found = {
        name: run(load(SCENARIOS[0].with_name(f"{name}.yaml")), tmp_path / name).report
        for name in ("crashes", "hangs", "loss", "reboots")
    }
    assert found["crashes"].events["node.restarting"] >= 4
    assert found["hangs"].events["node.hung"] >= 2
    assert found["loss"].copies > 0
    assert found["reboots"].events["robot.offline"] >= 3


@pytest.mark.parametrize("how", ["lost", "doubled"])
def test_ledger_notices_what_a_store_has_lost_or_doubled(how: str, tmp_path: Path) -> None:
    async def main() -> tuple[list[str], list[str]]:
        from botyard.core.hub import Hub
        from botyard.plugin.manager import build_plugin_manager
        from botyard.testing import PLUGINS, FakeRobot, MemoryTransport, hub_config
        from botyard_schemas import Envelope, Telemetry, encode
        from botyard_schemas.messages import Channel, Group

        clock = virtual.LoopClock(asyncio.get_running_loop())
        transport, ledger = MemoryTransport(), Ledger()
        plugins = build_plugin_manager(defaults=PLUGINS)
        plugins.register(transport)
        async with Hub(hub_config(tmp_path, roles=["ingest"]), clock=clock, plugins=plugins, processes=False):
            robot = FakeRobot("r", transport, clock)
            for seq in range(1, 4):
                await robot.telemetry({"x": seq})
                body = Telemetry([Group([0], [Channel("x", [float(seq)], "number")])])
                if how == "lost" or seq > 1:
                    ledger.sent(encode(Envelope("r", clock.now(), body, robot.epoch, seq)))
            await clock.sleep(1.0)
        path = tmp_path / "data" / "botyard.db"
        async with SqliteStore(path, processes=False) as store:
            if how == "lost":
                with sqlite3.connect(path) as db:
                    db.execute("DELETE FROM block")
            head = [("r", robot.epoch, 4 if how == "lost" else 3)]
            return await ledger.missing(store, head), await ledger.doubled(store, ["r"])

    missing, doubled = virtual.run(main())
    if how == "lost":
        assert missing == ["r: the hub has 3 of 4 messages of epoch-1"]
        assert doubled == ["r: 0 samples of x are stored, 3 were sent"]
    else:
        assert missing == []
        assert doubled == ["r: 3 samples of x are stored, 2 were sent"]


def test_sim_command_says_what_happened_and_writes_the_same_log_again(tmp_path: Path) -> None:
    path = SCENARIOS[0].with_name("link-loss.yaml")
    logs = []
    for hash_seed in ("1", "2"):
        log = tmp_path / f"{hash_seed}.jsonl"
        arguments = ["--scenario", str(path), "--robots", "2", "--seconds", "40", "--log", str(log)]
        done = subprocess.run(
            [sys.executable, "-m", "botyard.cli.entry", "sim", *arguments],
            capture_output=True,
            text=True,
            env={"PYTHONHASHSEED": hash_seed, "PATH": "/usr/bin:/bin", "COLUMNS": "200"},
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "2 robots for 40 s" in done.stdout
        assert "✓ nothing is lost" in done.stdout
        logs.append(log.read_bytes())
    assert logs[0] == logs[1]
    assert logs[0].count(b"link_loss") >= 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("faults: [{fault: earthquake}]", r"bad\.yaml:1: faults\[0\]\.fault"),
        ("robots: 2\nfaults:\n  - {fault: reboot, robots: [3]}", r"bad\.yaml:3: there is no robot 3, expected 1 to 2"),
        ("seconds: 10\nfaults:\n  - {fault: reboot, at: 20}", r"bad\.yaml:3: 20 is after the end"),
    ],
)
def test_scenario_that_makes_no_sense_is_refused_with_file_and_line(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SettingsError, match=sentence):
        load(tmp_path / "bad.yaml")


def test_faults_by_chance_come_about_as_often_as_they_should() -> None:
    import random

    path = SCENARIOS[0].with_name("everything.yaml")
    found = faults(load(path, seconds=100_000.0, robots=100), random.Random(1))
    crashes = sum(fault.what.fault == "node_crash" for fault in found) / 30  # of 30 robots each time
    assert crashes == pytest.approx(100_000 / (50 + 10), rel=0.1)
    assert found == sorted(found, key=lambda fault: fault.at)
    assert all(fault.at < fault.until <= 100_000 for fault in found)
