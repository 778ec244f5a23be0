"""`botyard sim --hub`: a fleet in one process at a hub in another, over both transports, while the hub is killed."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import HubProcess, Running, wait_until

ROBOTS = 40
SCENARIO: dict[str, Any] = {
    "seconds": 6,
    "settle": 60,
    "options": {"block": 0.5, "patrol": False, "start": "dock-3"},
    "robot": {"telemetry": {"max_age": 0.5}, "state": {"max_rate": 1}, "link": {"reconnect_max": 2}},
    "commands": [
        {"command": "goto", "args": {"waypoint": "aisle-3-b"}, "at": 0.2, "robots": [1, 2, 3, 4]},
        {"command": "safety.stop", "at": 1.0, "robots": [1, 2]},
        {"command": "dance", "at": 1.0, "robots": [5]},
    ],
    "faults": [
        {"fault": "link_loss", "at": 0.5, "for": 1.0, "robots": [11, 12]},
        {"fault": "partition", "at": 0.5, "for": 1.5, "robots": [13, 14]},
        {"fault": "latency", "at": 0.5, "for": 5.0, "robots": [15, 16], "value": 0.1, "jitter": 0.1},
        {"fault": "loss", "at": 0.5, "for": 5.0, "robots": [17, 18]},
        {"fault": "duplicates", "at": 0.5, "for": 5.0, "robots": [19, 20]},
        {"fault": "reordering", "at": 0.5, "for": 5.0, "robots": [21, 22]},
        {"fault": "reboot", "at": 1.0, "for": 1.0, "robots": [23, 24]},
    ],
}


@pytest.fixture
def start_sim(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(*arguments: str) -> Running:
        whole = [sys.executable, "-m", "botyard.cli.entry", "sim", *arguments]
        started.append(Running(whole, tmp_path, f"sim-{len(started)}", {"COLUMNS": "300"}))
        return started[-1]

    yield start
    for sim in started:
        sim.kill()


def times_of(hub: HubProcess, robot: str) -> list[int]:
    return [one["ts"] for one in hub.all_items("readings", robot=robot, channel="gripper.force", limit=5000)]


def test_fleet_over_both_transports_loses_nothing_when_its_hub_is_killed(
    start_hub: Callable[..., HubProcess], start_sim: Callable[..., Running], tmp_path: Path
) -> None:
    hub = start_hub()
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(SCENARIO))
    ways = ["--hub", hub.broker_url, "--hub", f"ws://127.0.0.1:{hub.port}"]
    sim = start_sim("--scenario", "scenario.yaml", "--robots", str(ROBOTS), *ways, "--report", "report.json")
    wait_until(lambda: hub.get("events", name="command.rejected")["items"] or sim.process.poll(), "a command ends")
    hub.kill()
    hub.start()
    assert sim.process.wait(60) == 0, sim.output()
    report = json.loads((tmp_path / "report.json").read_text())
    assert [one for one in report["invariants"] if one["violations"]] == []
    assert report["robots"] == ROBOTS
    assert report["faults"] == {line["fault"]: 2 for line in SCENARIO["faults"]}
    assert sum(report["commands"].values()) == 7
    assert report["commands"]["rejected"] == 1
    assert report["commands"]["succeeded"] >= 2
    assert report["copies"] > 0  # what was in flight when the hub was killed
    assert report["pace"]["cpu"] > 0
    counts = hub.get("readings/counts")["items"]
    assert sum(one["count"] for one in counts) == report["samples"]
    assert {one["robot"] for one in hub.get("streams")["items"]} == {f"robot-{n}" for n in range(1, ROBOTS + 1)}
    for robot in ("robot-7", "robot-8", "robot-15", "robot-18", "robot-20", "robot-21"):
        assert len(set(times_of(hub, robot))) > 55, robot  # 10 Hz for 6 s, whatever the hub's absence
