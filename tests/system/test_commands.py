"""Commands from the API of a real hub to a real robot and back."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.processes import ROOT, HubProcess, Running, wait_until

ENDED = ("succeeded", "failed", "rejected", "expired", "cancelled")


def robot(hub: HubProcess, name: str, **more: Any) -> dict[str, Any]:
    link = {"url": hub.broker_url, "heartbeat": 1.0, "reconnect_max": 1.0, "resend_after": 1.0}
    return {"robot": name, "link": {**link, **more}, "drivers": {"sim": {}}}


def ask(hub: HubProcess, name: str, command: str, **fields: Any) -> str:
    answer = hub.api.post(f"/api/v1/robots/{name}/commands", json={"name": command, **fields})
    assert answer.status_code == 202, answer.text
    asked: str = answer.json()["id"]
    return asked


def ended(hub: HubProcess, name: str, command: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = hub.get(f"robots/{name}/commands/{command}")
        return found if found["status"]["status"] in ENDED else None

    found: dict[str, Any] = wait_until(look, f"{command} of {name} ends")
    return found


def is_online(hub: HubProcess, name: str) -> bool:
    answer = hub.api.get(f"/api/v1/robots/{name}")
    return answer.status_code == 200 and answer.json()["status"]["presence"]["status"] == "online"


@pytest.mark.parametrize("transport", ["mqtt", "websocket"])
def test_robot_does_what_the_hub_asks_also_when_it_was_away_and_the_hub_was_killed_meanwhile(
    transport: str, start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    settings = robot(hub, "picker-1")
    if transport == "websocket":
        settings["link"]["url"] = hub.url.replace("http", "ws") + "/edge/v1"
    hub.api.post("/api/v1/robots", json={"id": "picker-1"})
    waiting = ask(hub, "picker-1", "safety.stop", expires_in=600, id="mine")
    gone = ask(hub, "picker-1", "safety.stop", expires_in=1)
    assert ended(hub, "picker-1", gone)["status"]["reason"] == "the robot was not connected before the deadline"
    hub.kill()
    hub.start()
    assert ask(hub, "picker-1", "safety.stop", id="mine") == waiting
    edge = start_edge(settings)
    found = ended(hub, "picker-1", waiting)
    assert found["status"]["status"] == "succeeded"
    assert [report["status"] for report in found["reports"]][-1] == "succeeded"

    unknown = ended(hub, "picker-1", ask(hub, "picker-1", "dance"))
    assert unknown["status"]["status"] == "rejected"
    assert "this robot has no command 'dance'" in unknown["status"]["reason"]
    for name in ("safety.clear", "safety.reset", "safety.resume"):  # whatever lifts a stop is for the robot alone
        assert ended(hub, "picker-1", ask(hub, "picker-1", name))["status"]["status"] == "rejected"
    assert len(hub.get("robots/picker-1/commands")["items"]) == 6
    edge.stop()


def test_command_that_is_being_executed_when_the_hub_is_killed_is_followed_to_its_end(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    start_edge(robot(hub, "picker-1"))
    wait_until(lambda: is_online(hub, "picker-1"), "the robot is there")
    drive = ask(hub, "picker-1", "goto", args={"waypoint": "packing-2"}, expires_in=60)
    wait_until(
        lambda: hub.get(f"robots/picker-1/commands/{drive}")["status"]["status"] in ("running", *ENDED), "it drives"
    )
    hub.kill()
    hub.start()
    stop = ask(hub, "picker-1", "safety.stop")
    assert ended(hub, "picker-1", stop)["status"]["status"] == "succeeded"
    found = ended(hub, "picker-1", drive)
    assert found["status"]["status"] == "cancelled", found
    assert [report["status"] for report in found["reports"]].count("accepted") == 1

    def noted() -> list[str]:
        return [event["name"] for event in hub.get("events", robot="picker-1", name="command")["items"]]

    wait_until(lambda: {"command.cancelled", "command.succeeded"} <= set(noted()), "both ends are events")
    assert (noted().count("command.cancelled"), noted().count("command.succeeded")) == (1, 1)


def botyard(hub: HubProcess, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "botyard.cli.entry", "robots", "command", *arguments, "--url", hub.url],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_command_line_asks_waits_and_says_what_came_of_it(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    start_edge(robot(hub, "picker-1"))
    wait_until(lambda: is_online(hub, "picker-1"), "the robot is there")
    done = botyard(hub, "picker-1", "safety.stop", "--wait")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "succeeded")
    refused = botyard(hub, "picker-1", "goto", "--args", '{"waypoint": "nowhere"}', "--wait", "--json")
    assert refused.returncode == 1
    assert "nowhere" in json.loads(refused.stdout)["status"]["reason"]
    asked = botyard(hub, "picker-1", "patrol")
    assert asked.returncode == 0
    assert asked.stdout.startswith("cmd-")
    for arguments, sentence in (
        (["picker-1", "goto", "--args", "{"], "--args: '{' is not JSON"),
        (["picker-1", "goto", "--args", "[]"], "--args: '[]' is no JSON object"),
        (["picker-1", "go to"], "the hub refuses: name: "),
        (["nobody", "goto"], "the hub refuses: there is no robot 'nobody'"),
    ):
        wrong = botyard(hub, *arguments)
        assert wrong.returncode == 1
        assert sentence in wrong.stderr, wrong.stderr
