"""Hubs, robots and brokers as real processes, each ended with its test."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import ROOT, HubProcess, Mosquitto, Running


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., HubProcess]]:
    """Start hubs that end with the test."""
    started: list[HubProcess] = []

    def start(settings: dict[str, Any] | None = None, *, ready: bool = True) -> HubProcess:
        folder = tmp_path / f"hub-{len(started)}"
        folder.mkdir()
        hub = HubProcess(folder, settings, ready=ready)
        started.append(hub)
        return hub

    yield start
    for hub in started:
        hub.api.close()
        hub.stop()


@pytest.fixture
def start_edge(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Start `botyard-edge run` processes that end with the test."""
    started: list[Running] = []

    def start(robot: dict[str, Any], *arguments: str) -> Running:
        # A machine that is busy with tests may not run a process for the quarter of a second after which it is at rest.
        safety = robot.get("safety", {})
        robot = {**robot, "safety": {**safety, "watchdogs": {"event_loop": "20 s", **safety.get("watchdogs", {})}}}
        file = tmp_path / f"{robot['robot']}.yaml"
        file.write_text(yaml.safe_dump(robot))
        command = [sys.executable, "-m", "botyard_edge.cli", "run", str(file), *arguments]
        edge = Running(command, tmp_path, robot["robot"], {"PYTHONPATH": str(ROOT)})
        started.append(edge)
        return edge

    yield start
    for edge in started:
        edge.stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    """A real Mosquitto that is not started yet."""
    broker = Mosquitto(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def any_hub(request: pytest.FixtureRequest, start_hub: Callable[..., HubProcess], mosquitto: Mosquitto) -> HubProcess:
    """A hub with the embedded broker, and once more with a real Mosquitto instead."""
    if request.param == "embedded":
        return start_hub()
    mosquitto.start()
    return start_hub({"broker": {"url": mosquitto.url}})
