"""A real robot that is killed while it moves, and one whose event loop is blocked."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.processes import ROOT, HubProcess, Running, wait_until


def robot(hub: HubProcess, **more: Any) -> dict[str, Any]:
    link = {"url": hub.broker_url, "heartbeat": 1.0, "reconnect_max": 0.5, "resend_after": 1.0}
    outbox = {"durability": "each"}
    return {"robot": "picker-1", "link": link, "outbox": outbox, "drivers": {"sim": {}}, **more}


def state(hub: HubProcess) -> dict[str, Any]:
    answer = hub.api.get("/api/v1/robots/picker-1/state")
    found: dict[str, Any] = answer.json()["state"] if answer.status_code == 200 else {}
    return found or {}


def ask(hub: HubProcess, command: str, **fields: Any) -> str:
    answer = hub.api.post("/api/v1/robots/picker-1/commands", json={"name": command, **fields})
    assert answer.status_code == 202, answer.text
    asked: str = answer.json()["id"]
    return asked


def status(hub: HubProcess, command: str) -> dict[str, Any]:
    found: dict[str, Any] = hub.get(f"robots/picker-1/commands/{command}")["status"]
    return found


def at_the_robot(folder: Path, do: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "botyard_edge.cli", "estop", do, str(folder / "picker-1.yaml")]
    return subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)


def test_robot_killed_in_motion_comes_back_at_rest_tells_why_and_is_cleared_at_the_robot_alone(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], tmp_path: Path
) -> None:
    hub = start_hub()
    edge = start_edge(robot(hub))
    wait_until(lambda: state(hub).get("busy") is not None, "the robot is there")
    drive = ask(hub, "goto", args={"waypoint": "packing-2"}, expires_in=600)
    wait_until(lambda: status(hub, drive)["status"] == "running" and state(hub)["busy"], "it drives")
    edge.kill()
    edge = start_edge(robot(hub))

    wait_until(lambda: state(hub).get("mode") == "safe", "it is in safe mode")
    why = "the edge ended without warning while the robot moved (goto)"
    assert state(hub)["mode_reason"] == why
    told = wait_until(lambda: hub.get("events", robot="picker-1", name="safety")["items"], "the hub is told why")
    assert [(event["name"], event["message"]) for event in told] == [("safety.safe", why)]
    wait_until(lambda: status(hub, drive)["status"] == "failed", "the drive has its end")
    assert status(hub, drive)["reason"] == "the edge ended while it executed this"
    wait_until(lambda: state(hub)["busy"] is False, "it is at rest, although it patrols when nothing is the matter")
    refused = ask(hub, "goto", args={"waypoint": "packing-2"})
    wait_until(lambda: status(hub, refused)["status"] == "rejected", "it drives nowhere")

    assert at_the_robot(tmp_path, "status").stdout.startswith("mode: safe\n")
    cleared = at_the_robot(tmp_path, "clear")
    assert (cleared.returncode, cleared.stdout) == (0, "mode: auto\n"), cleared.stderr
    wait_until(lambda: state(hub)["mode"] == "auto", "the hub hears of it")
    again = ask(hub, "goto", args={"waypoint": "packing-2"})
    wait_until(lambda: status(hub, again)["status"] == "running", "it drives again")

    # No message is lost or doubled by all of that: ten samples a second, without a gap but that of the kill itself.
    assert edge.stop() == 0, edge.output()
    times = sorted(
        item["ts"] for item in hub.all_items("readings", robot="picker-1", channel="gripper.force", limit=5000)
    )
    assert len(set(times)) == len(times), "a sample is there twice"
    gaps = [later - earlier for earlier, later in itertools.pairwise(times) if later - earlier > 250_000]
    assert len(gaps) == 1, "a sample is missing"
    dropped = hub.all_items("events", robot="picker-1", name="outbox.dropped", limit=100)
    assert {event["data"]["reason"] for event in dropped} <= {"cut off"}
    assert "messages are left" not in edge.output().splitlines()[-1], "all was acknowledged, so the hub misses nothing"


BLOCKING = """
import time
from botyard_edge.driver import Capabilities, Driver, DriverSpec
from botyard_edge.hookspecs import hookimpl

class Stuck(Driver):
    capabilities = Capabilities()

    def halt(self):
        print("halted at", time.monotonic(), flush=True)

    async def run(self, port):
        await self.context.clock.sleep(1.0)
        print("blocked at", time.monotonic(), flush=True)
        time.sleep(3.0)
        await self.context.clock.sleep(1e9)

@hookimpl
def botyard_edge_drivers():
    return [DriverSpec("stuck", "", Stuck, DriverSpec.EMPTY_OPTIONS)]
"""


def test_blocked_event_loop_halts_the_robot_and_is_latched_and_told(
    start_hub: Callable[..., HubProcess], tmp_path: Path
) -> None:
    hub = start_hub()
    (tmp_path / "stuck.py").write_text(BLOCKING)
    settings = robot(hub, drivers={"stuck": {}}, plugins=["stuck"], safety={"watchdogs": {"event_loop": "250 ms"}})
    (tmp_path / "picker-1.yaml").write_text(yaml.safe_dump(settings))
    command = [sys.executable, "-m", "botyard_edge.cli", "run", "picker-1.yaml"]
    edge = Running(command, tmp_path, "picker-1", {"PYTHONPATH": f"{ROOT}:{tmp_path}"})
    try:
        wait_until(lambda: state(hub).get("mode") == "safe", "it is in safe mode")
        assert "the event loop has been blocked" in state(hub)["mode_reason"]
        times = {
            words[0]: float(words[2])
            for line in edge.output().splitlines()
            if (words := line.split())[:2] in (["blocked", "at"], ["halted", "at"])
        }
        assert 0.0 < times["halted"] - times["blocked"] < 2.5, "while the loop was blocked"
    finally:
        edge.stop()
