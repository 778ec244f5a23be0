"""What tests of commands use."""

from typing import Any

from botyard.testing import FakeRobot, RunningHub
from tests.hub.support import get, noted, problem


async def ask(running: RunningHub, robot: str = "r", name: str = "goto", **fields: Any) -> dict[str, Any]:
    answer = await running.api.post(f"/api/v1/robots/{robot}/commands", json={"name": name, **fields})
    assert answer.status_code == 202, answer.text
    asked: dict[str, Any] = answer.json()
    return asked


async def status(running: RunningHub, command: str, robot: str = "r") -> dict[str, Any]:
    """Where the command is, once everything that came is taken over."""
    found: dict[str, Any] = (await get(running, f"robots/{robot}/commands/{command}"))["status"]
    return found


async def refused(running: RunningHub, code: int, method: str, path: str, **options: Any) -> dict[str, Any]:
    """The problem document of a request that is answered with this status."""
    found = await problem(running, method, path, **options)
    assert found["status"] == code, found
    return found


async def becomes(running: RunningHub, command: str, wanted: str, robot: str = "r") -> dict[str, Any]:
    """Wait until the command has this status; the store needs real time for it."""
    for _ in range(500):
        found = await status(running, command, robot)
        if found["status"] == wanted:
            return found
        await get(running, "hub")
    raise AssertionError(f"{found}, expected {wanted}")


async def online(running: RunningHub, robot: str = "r") -> FakeRobot:
    there = running.robot(robot)
    await there.presence()
    await running.transport.committed()
    return there


async def told(running: RunningHub) -> list[tuple[str, str]]:
    """The events about commands with their actors, the oldest one first."""
    await noted(running)
    items = (await get(running, "events", name="command"))["items"]
    return [(event["name"], event["actor"]) for event in reversed(items)]
