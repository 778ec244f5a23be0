"""`/api/v1/events`, the quarantine, sites, and the hub itself."""

from pathlib import Path
from typing import Any

import pytest

from botyard.testing import RunningHub, VirtualClock, running_hub
from botyard_schemas import __version__, topics
from tests.hub.support import get, problem, quarantine

T0 = 1_763_712_000_000_000
PLAN = """
id: hall
name: Hall 1
width: 40
height: 24
walls: [[[0, 0], [40, 0]]]
zones: [{name: A, kind: rack, polygon: [[4, 4], [12, 4], [12, 6]]}]
stations: [{name: dock-1, kind: dock, x: 2, y: 2}, {name: a1, kind: station, x: 9, y: 9}]
roads: [[dock-1, a1]]
"""


async def filled(running: RunningHub) -> None:
    robot, other = running.robot("r"), running.robot("other")
    await robot.event("docking.failed", "error", message="no answer", data={"dock": "d2"}, dt=-5_000_000)
    await robot.event("docking", "info")
    await robot.event("dockingx", "debug")
    await other.event("battery.low", "warning", cause="cmd-1")
    await running.transport.committed()


async def names(running: RunningHub, **query: Any) -> list[str]:
    items = (await get(running, "events", **query))["items"]
    return [event["name"] for event in items if not event["name"].startswith(("hub.", "robot.", "broker."))]


async def test_events_are_newest_first_with_filters(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        assert await names(running) == ["battery.low", "dockingx", "docking", "docking.failed"]
        assert await names(running, robot="r") == ["dockingx", "docking", "docking.failed"]
        assert await names(running, name="docking") == ["docking", "docking.failed"]
        assert await names(running, severity=["error", "warning"]) == ["battery.low", "docking.failed"]
        assert await names(running, to=T0) == ["docking.failed"]
        assert await names(running, **{"from": T0}) == ["battery.low", "dockingx", "docking"]
        assert await names(running, robot="nobody") == []
        (failed,) = (await get(running, "events", name="docking.failed"))["items"]
        assert {key: failed[key] for key in failed if key != "id"} == {
            "ts": T0 - 5_000_000,
            "robot": "r",
            "actor": "robot:r",
            "name": "docking.failed",
            "severity": "error",
            "message": "no answer",
            "data": {"dock": "d2"},
            "cause": None,
        }


async def test_events_pages_together_are_everything_once(tmp_path: Path) -> None:
    async with running_hub(tmp_path, clock=VirtualClock()) as running:
        await filled(running)
        everything = (await get(running, "events", limit=1000))["items"]
        for limit in (1, 2, 3, len(everything)):
            items, cursor = [], None
            while True:
                page = await get(running, "events", limit=limit, **({"cursor": cursor} if cursor else {}))
                items += page["items"]
                if (cursor := page["next"]) is None:
                    break
            assert items == everything


async def test_quarantine_is_filtered_and_paged(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        for robot in ("a", "b"):
            await running.robot(robot).presence()
            await running.transport.deliver(topics.up(robot, "event"), b"{")
            await running.transport.deliver(topics.up(robot, "event"), b"[]")
        await running.transport.committed()
        assert [row["robot"] for row in await quarantine(running)] == ["a", "a", "b", "b"]
        assert [row["reason"] for row in await quarantine(running, robot="a")] == ["malformed_json", "schema"]
        assert [row["robot"] for row in await quarantine(running, reason="schema")] == ["a", "b"]
        first = await get(running, "quarantine", limit=3)
        rest = await get(running, "quarantine", limit=3, cursor=first["next"])
        assert [row["id"] for row in first["items"] + rest["items"]] == [
            row["id"] for row in (await quarantine(running))[::-1]
        ]
        assert rest["next"] is None


@pytest.mark.parametrize(
    ("path", "field", "detail"),
    [
        ("events?severity=loud", "severity[0]", "severity[0]: Invalid enum value 'loud'"),
        ("events?from=x", "from", "from: 'x' is neither"),
        ("events?limit=0", "limit", "limit: 0 is not between"),
        ("events?cursor=x", "cursor", "cursor: "),
        ("events?channel=x", "channel", "channel: is no parameter of this request"),
        ("quarantine?limit=-1", "limit", "limit: -1 is not between"),
        ("quarantine?cursor=x", "cursor", "cursor: "),
        ("quarantine?reasons=x", "reasons", "reasons: is no parameter of this request"),
    ],
)
async def test_listing_with_a_bad_parameter_is_refused_and_the_parameter_is_named(
    tmp_path: Path, path: str, field: str, detail: str
) -> None:
    async with running_hub(tmp_path) as running:
        document = await problem(running, "GET", f"/api/v1/{path}")
        assert (document["status"], document["field"]) == (400, field)
        assert detail in document["detail"]


async def test_cursor_of_another_listing_is_refused(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await filled(running)
        cursor = (await get(running, "events", limit=1))["next"]
        assert cursor
        for path in ("quarantine", "readings"):
            document = await problem(running, "GET", f"/api/v1/{path}", params={"cursor": cursor})
            assert (document["status"], document["field"]) == (400, "cursor")


async def test_sites_are_what_the_plan_files_say(tmp_path: Path) -> None:
    (tmp_path / "hall.yaml").write_text(PLAN)
    async with running_hub(tmp_path, fleet={"sites": ["hall.yaml"]}) as running:
        (site,) = (await get(running, "sites"))["items"]
        assert (site["id"], site["name"], site["width"], site["height"]) == ("hall", "Hall 1", 40, 24)
        assert site["roads"] == [["dock-1", "a1"]]
        assert site["zones"][0]["polygon"] == [[4, 4], [12, 4], [12, 6]]


async def test_hub_says_what_it_is_and_what_became_of_messages(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        await filled(running)
        await clock.advance(5)
        hub = await get(running, "hub")
        assert hub["version"] == __version__
        assert (hub["started"], hub["now"]) == (T0, T0 + 5_000_000)
        assert hub["roles"] == ["ingest", "web", "scheduler"]
        assert hub["auto_accept"] is True
        assert hub["robots"] == 2
        assert hub["broker"] == {"connected": True, "address": "memory://", "embedded": True, "error": None}
        assert (hub["counters"]["received"], hub["counters"]["committed"]) == (4, 4)


async def test_hub_notes_its_start_its_stop_and_its_broker_as_events(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        running.transport.disconnect("it is gone")
        assert (await get(running, "hub"))["broker"]["error"] == "it is gone"
        running.transport.connect()
    async with running_hub(tmp_path) as running:
        found = (await get(running, "events"))["items"][::-1]
        assert [(event["name"], event["severity"], event["actor"]) for event in found[:5]] == [
            ("hub.started", "info", "hub"),
            ("broker.connected", "info", "hub"),
            ("broker.lost", "warning", "hub"),
            ("broker.connected", "info", "hub"),
            ("hub.stopped", "info", "hub"),
        ]
        assert found[2]["message"] == "memory is not connected: it is gone"
