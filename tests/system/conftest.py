"""Hubs, robots and brokers as real processes, each ended with its test."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import HubProcess, Running, answers, free_port, wait_until


@pytest.fixture
def start_hub(tmp_path: Path) -> Iterator[Callable[..., HubProcess]]:
    """Start hubs that end with the test."""
    started: list[HubProcess] = []

    def start(settings: dict[str, Any] | None = None) -> HubProcess:
        folder = tmp_path / f"hub-{len(started)}"
        folder.mkdir()
        hub = HubProcess(folder, settings)
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
        file = tmp_path / f"{robot['robot']}.yaml"
        file.write_text(yaml.safe_dump(robot))
        command = [sys.executable, "-m", "botyard_edge.cli", "run", str(file), *arguments]
        edge = Running(command, tmp_path, robot["robot"])
        started.append(edge)
        return edge

    yield start
    for edge in started:
        edge.stop()


@pytest.fixture
def start_mosquitto(tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Start real Mosquitto brokers that end with the test; gives their URLs."""
    started: list[Running] = []

    def start() -> str:
        binary = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        port = free_port()
        config = tmp_path / f"mosquitto-{port}.conf"
        config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
        started.append(Running([binary, "-c", str(config)], tmp_path, f"mosquitto-{port}"))
        wait_until(lambda: answers(port), "Mosquitto answers")
        return f"mqtt://127.0.0.1:{port}"

    yield start
    for broker in started:
        broker.stop()


@pytest.fixture(params=["embedded", pytest.param("mosquitto", marks=pytest.mark.mosquitto)])
def any_hub(
    request: pytest.FixtureRequest, start_hub: Callable[..., HubProcess], start_mosquitto: Callable[[], str]
) -> HubProcess:
    """A hub with the embedded broker, and once more with a real Mosquitto instead."""
    if request.param == "embedded":
        return start_hub()
    return start_hub({"broker": {"url": start_mosquitto()}})
