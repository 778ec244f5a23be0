"""`/api/v1/robots`: list, describe, accept, remove; and how the API says no."""

from pathlib import Path
from typing import Any

import pytest

from botyard.testing import RunningHub, VirtualClock, running_hub
from tests.hub.support import get, problem, samples

ROBOTS = "/api/v1/robots"


async def create(running: RunningHub, **fields: Any) -> dict[str, Any]:
    answer = await running.api.post(ROBOTS, json=fields)
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def test_robot_is_created_read_changed_and_removed(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        fields = {"name": "Otto", "type": "amr", "group": "north", "tags": ["b", "a", "b"], "notes": "✓"}
        created = await create(running, id="r", **fields)
        assert created["spec"] == {**fields, "tags": ["b", "a"]}
        assert created["created"] == clock.now()
        presence = created["status"]["presence"]
        assert (presence["status"], presence["since"], presence["reason"]) == ("unknown", None, None)
        assert created["status"]["registration"] == "accepted"
        assert await get(running, "robots/r") == created

        answer = await running.api.patch(f"{ROBOTS}/r", json={"group": None, "tags": [], "notes": ""})
        assert answer.json()["spec"] == {"name": "Otto", "type": "amr", "group": None, "tags": [], "notes": ""}
        assert await get(running, "robots/r") == answer.json()

        answer = await running.api.delete(f"{ROBOTS}/r")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await problem(running, "GET", f"{ROBOTS}/r"))["detail"] == "there is no robot 'r'"


async def test_robot_created_with_an_id_only_is_named_after_it(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        assert (await create(running, id="r-1"))["spec"] == {
            "name": "r-1",
            "type": "",
            "group": None,
            "tags": [],
            "notes": "",
        }


async def test_robot_changes_are_events_with_their_actor(tmp_path: Path) -> None:
    async with running_hub(tmp_path, fleet={"auto_accept": False}) as running:
        await create(running, id="r")
        await running.api.patch(f"{ROBOTS}/r", json={"name": "n"})
        robot = running.robot("new")
        await robot.post(samples(robot, 1))
        await running.api.post(f"{ROBOTS}/new/accept")
        assert (await running.api.post(f"{ROBOTS}/new/accept")).status_code == 200  # twice does nothing more
        await robot.post(samples(robot, 1))
        await running.transport.committed()
        events = (await get(running, "events", name="robot"))["items"][::-1]
        assert [(event["name"], event["robot"], event["actor"]) for event in events] == [
            ("robot.registered", "r", "user:loopback"),
            ("robot.changed", "r", "user:loopback"),
            ("robot.registered", "new", "robot:new"),
            ("robot.accepted", "new", "user:loopback"),
        ]


async def test_robots_are_listed_by_id_in_pages_with_filters(tmp_path: Path) -> None:
    async with running_hub(tmp_path, fleet={"auto_accept": False}) as running:
        for n in range(5):
            await create(running, id=f"r{n}", type="amr" if n % 2 else "arm", group=f"g{n // 3}", tags=["all", f"t{n}"])
        await running.robot("pending").telemetry({"x": 1})

        async def ids(**query: Any) -> list[str]:
            return [robot["id"] for robot in (await get(running, "robots", **query))["items"]]

        assert await ids() == ["pending", "r0", "r1", "r2", "r3", "r4"]
        assert await ids(type="amr") == ["r1", "r3"]
        assert await ids(group="g1") == ["r3", "r4"]
        assert await ids(tag="t2") == ["r2"]
        assert await ids(tag="all", type="arm", group="g0") == ["r0", "r2"]
        assert await ids(registration="pending") == ["pending"]
        assert await ids(registration="accepted", limit=2) == ["r0", "r1"]
        assert await ids(group="none") == []

        found, cursor = [], None
        while True:
            page = await get(running, "robots", limit=4, **({"cursor": cursor} if cursor else {}))
            found += [robot["id"] for robot in page["items"]]
            if (cursor := page["next"]) is None:
                break
        assert found == await ids()
        assert (await get(running, "robots", limit=6))["next"] is None


async def test_robot_state_is_there_once_it_was_reported(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await running.robot("r").presence()
        missing = await problem(running, "GET", f"{ROBOTS}/r/state")
        assert (missing["status"], missing["detail"]) == (404, "robot 'r' has not reported a state yet")
        pose = {"frame": "hall", "x": 1.5, "y": 2.0, "yaw": 0.0}
        await running.robot("r").state(pose=pose, health="warning", health_reasons=["hot"])
        assert await get(running, "robots/r/state") == {
            "robot": "r",
            "ts": clock.now(),
            "state": {"mode": "auto", "health": "warning", "health_reasons": ["hot"], "pose": pose},
        }


async def test_robot_channels_are_listed_with_type_and_unit(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        channels = [
            {"name": "t", "unit": "Cel", "values": [1]},
            {"name": "at", "type": "pose", "values": [{"frame": "f", "x": 1, "y": 2, "yaw": 3}]},
        ]
        await robot.send("telemetry", {"groups": [{"dt": [0], "channels": channels}]})
        await running.transport.committed()
        assert (await get(running, "robots/r/channels"))["items"] == [
            {"robot": "r", "name": "at", "type": "pose", "unit": None},
            {"robot": "r", "name": "t", "type": "number", "unit": "Cel"},
        ]


@pytest.mark.parametrize("path", ["r", "r/state", "r/channels", "r/messages"])
async def test_robot_that_is_not_there_is_a_problem(tmp_path: Path, path: str) -> None:
    async with running_hub(tmp_path) as running:
        document = await problem(running, "GET", f"{ROBOTS}/{path}")
        assert document["detail"] == "there is no robot 'r'"
        assert document["instance"] == f"{ROBOTS}/{path}"
        for method, path in (("PATCH", "r"), ("DELETE", "r"), ("POST", "r/accept")):
            body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
            assert (await problem(running, method, f"{ROBOTS}/{path}", **body))["status"] == 404


BAD_BODIES: list[tuple[Any, str, str]] = [
    (b"{", "body", "body: is not JSON: Input data was truncated"),
    (b"", "body", "body: is not JSON: Input data was truncated"),
    (b'"\xff"', "body", "body: is not JSON"),
    (b"[" * 100_000, "body", "body: is not JSON"),
    (b"[]", "body", "body: Expected `object`, got `array`"),
    ({}, "body", "body: Object missing required field `id`"),
    ({"id": 7}, "id", "id: Expected `str`, got `int`"),
    ({"id": ""}, "id", "id: '' is not a robot id, expected 1 to 64 of A-Z, a-z, 0-9, _ and -"),
    ({"id": "a b"}, "id", "id: 'a b' is not a robot id"),
    ({"id": "x" * 65}, "id", "is not a robot id"),
    ({"id": "r", "nmae": "x"}, "body", "body: Object contains unknown field `nmae`"),
    ({"id": "r", "name": "x" * 129}, "name", "name: has 129 characters, at most 128 are allowed"),
    ({"id": "r", "name": "  "}, "name", "name: must not be empty"),
    ({"id": "r", "notes": "x" * 65_537}, "notes", "notes: has 65537 characters, at most 65536 are allowed"),
    ({"id": "r", "tags": ["x"] * 3 + ["y" * 65]}, "tags", "tags: at most 64 tags of 1 to 64 characters are allowed"),
    ({"id": "r", "tags": [f"t{n}" for n in range(65)]}, "tags", "tags: at most 64 tags"),
    ({"id": "r", "tags": [""]}, "tags", "tags: at most 64 tags of 1 to 64 characters"),
    ({"id": "r", "tags": [1]}, "tags[0]", "tags[0]: Expected `str`, got `int`"),
]


async def test_robot_with_a_bad_description_is_refused_and_the_field_is_named(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        for body, field, detail in BAD_BODIES:
            content = {"content": body} if isinstance(body, bytes) else {"json": body}
            document = await problem(running, "POST", ROBOTS, **content)
            assert (document["status"], document["field"]) == (400, field), body
            assert detail in document["detail"], body
        assert (await get(running, "robots"))["items"] == []


async def test_robot_id_that_is_taken_is_a_conflict(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await create(running, id="r")
        document = await problem(running, "POST", ROBOTS, json={"id": "r"})
        assert (document["status"], document["field"], document["title"]) == (409, "id", "Conflict")


async def test_robot_change_that_is_bad_changes_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        before = await create(running, id="r", name="Otto")
        for body, field in (({"name": ""}, "name"), ({"notes": "n", "type": "x" * 65}, "type"), ({"id": "q"}, "body")):
            assert (await problem(running, "PATCH", f"{ROBOTS}/r", json=body))["field"] == field
        assert await get(running, "robots/r") == before


@pytest.mark.parametrize(
    ("query", "field", "detail"),
    [
        ("limit=0", "limit", "limit: 0 is not between 1 and 10000"),
        ("limit=10001", "limit", "limit: 10001 is not between 1 and 10000"),
        ("limit=many", "limit", "limit: Expected `int`, got `str`"),
        ("limit=1&limit=2", "limit", "limit: stands more than once"),
        ("colour=red", "colour", "colour: is no parameter of this request; known are cursor, group, limit, "),
        ("registration=maybe", "registration", "registration: Invalid enum value 'maybe'"),
    ],
)
async def test_robots_with_a_bad_parameter_is_refused_and_the_parameter_is_named(
    tmp_path: Path, query: str, field: str, detail: str
) -> None:
    async with running_hub(tmp_path) as running:
        document = await problem(running, "GET", f"{ROBOTS}?{query}")
        assert (document["status"], document["field"]) == (400, field)
        assert detail in document["detail"]


async def test_request_with_a_body_that_is_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.web.app.MAX_BODY", 4000)
    async with running_hub(tmp_path, ingest={"max_message_bytes": 1024}) as running:
        answer = await running.api.post(ROBOTS, content=b" " * 5000)
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_request_with_a_method_that_is_not_there_is_told_which_are(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        answer = await running.api.put(f"{ROBOTS}/r", json={})
        assert answer.status_code == 405
        assert {"GET", "PATCH", "DELETE"} <= set(answer.headers["Allow"].split(", "))
        assert answer.headers["Content-Type"] == "application/problem+json"
