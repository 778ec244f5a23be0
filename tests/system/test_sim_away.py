"""`botyard sim --hub`: the simulator's robots and faults in real time, at a real hub."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from botyard.cli.main import build_app
from botyard.core.config import BrokerConfig, Config, WebConfig
from botyard.core.hub import Hub
from botyard_edge.commands import CommandDesk
from botyard_edge.outbox import Entry
from botyard_edge.sender import Sender
from botyard_plugins.simulation import away
from botyard_plugins.simulation.scenario import CommandSettings, FaultSettings, Scenario


async def test_fleet_in_real_time_reaches_a_real_hub_through_faults(tmp_path: Path) -> None:
    config = Config(
        base=tmp_path,
        data_dir=str(tmp_path / "hub"),
        roles=("ingest", "web"),
        broker=BrokerConfig(port=0),
        web=WebConfig(port=0),
    )
    faults = [
        FaultSettings("link_loss", 1.5, 1.0, robots=[1]),
        FaultSettings("partition", 1.5, 1.0, robots=[2]),
        FaultSettings("loss", 1.0, 2.0, robots=[3], value=0.5),
        FaultSettings("duplicates", 1.0, 2.0, robots=[3], value=0.9),
        FaultSettings("latency", 1.0, 2.0, robots=[4], value=0.1),
    ]
    scenario = Scenario(robots=4, seconds=5.0, settle=30.0, options={"block": 0.5}, faults=faults)
    async with Hub(config) as hub:
        there = away.Address([hub.transports[0].address], hub.web_url or "")
        report = await away.run(scenario, 7, there, tmp_path)
        counts = await hub.store.counts()
    assert [one for one in report.invariants if not one.holds] == []
    assert report.faults == {"duplicates": 1, "latency": 1, "link_loss": 1, "loss": 1, "partition": 1}
    for robot in range(1, 5):
        assert counts[f"robot-{robot}", "gripper.force"] >= 45


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--speed", "fast"], "'fast' is no speed"),
        (["--hub", "mqtt://localhost", "--speed", "3"], "with --speed 1 only"),
        (["--hub", "mqtt://localhost", "--log", "x"], "there is no --log"),
    ],
)
def test_sim_with_options_that_make_no_sense_says_so(arguments: list[str], sentence: str) -> None:
    done = CliRunner().invoke(build_app(), ["sim", *arguments])
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())


async def test_what_a_real_hub_lacks_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    send = Sender._send

    async def forgetful(self: Sender, session: Any, entry: Entry) -> None:
        if entry.seq != 5:
            await send(self, session, entry)

    monkeypatch.setattr(Sender, "_send", forgetful)
    monkeypatch.setattr(CommandDesk, "take", lambda *_: None)
    config = Config(base=tmp_path, data_dir=str(tmp_path / "hub"), broker=BrokerConfig(port=0), web=WebConfig(port=0))
    commands = [
        CommandSettings("safety.stop", 0.5, expires=1.0, robots=[1]),
        CommandSettings("no name", 0.5, expires=1.0, robots=[2]),
    ]
    scenario = Scenario(robots=2, seconds=2.0, settle=2.0, options={"block": 0.2}, commands=commands)
    async with Hub(config) as hub:
        there = away.Address([hub.transports[0].address], hub.web_url or "")
        report = await away.run(scenario, 7, there, tmp_path)
    found = {one.name: one.violations for one in report.invariants if not one.holds}
    assert list(found) == ["everything is acknowledged", "nothing is lost", "every command is answered"]
    assert "the hub has 4 of" in found["nothing is lost"][0]
    assert found["every command is answered"][0] == "robot-1: safety.stop is expired, without an answer"
    assert found["every command is answered"][1].startswith("robot-2: no name was not taken in: name: ")
