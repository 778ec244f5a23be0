"""What waits for one client of the live feed: bounded, coalesced, and counted where something is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from botyard.core.actor import HUB
from botyard.core.events import EventCommitted, RobotChanged, RobotSeen
from botyard.core.samples import Column
from botyard.store.base import StoredEvent
from botyard.testing import RunningHub, VirtualClock, running_hub
from botyard.web.client import MAX_EVENT_BYTES, MAX_EVENTS, MAX_FAULTS, MAX_SAMPLE_BYTES, MAX_SAMPLES, Client
from botyard.web.feed import REMEMBERED_BYTES, SEEN_EVERY, SEEN_PER_SECOND, Feed


def event(n: int, size: int = 0) -> bytes:
    return json.dumps({"id": n, "message": "x" * size}).encode()


def column(robot: str, count: int, channel: str = "x") -> Column:
    return Column(robot, channel, "number", None, list(range(count)), [0.0] * count)


def test_client_keeps_the_newest_events_and_counts_the_others() -> None:
    client = Client()
    for n in range(MAX_EVENTS + 50):
        client.add_event(event(n))
    assert [json.loads(kept)["id"] for kept in client.events] == list(range(50, MAX_EVENTS + 50))
    assert client.skipped == 50
    assert client.dirty.is_set()


def test_client_joins_samples_of_a_channel_and_keeps_channels_apart() -> None:
    client = Client()
    client.watch(["r"])
    client.add_samples("r", [column("r", 2), column("r", 1, "y")])
    client.add_samples("r", [column("r", 3)])
    assert client.samples["r"]["x"].ts == [0, 1, 0, 1, 2]
    assert client.samples["r"]["y"].ts == [0]


def test_client_does_not_touch_the_columns_that_go_to_the_store() -> None:
    client = Client()
    client.watch(["r"])
    first = column("r", 2)
    client.add_samples("r", [first])
    client.add_samples("r", [column("r", 3)])
    assert first == column("r", 2)


def test_client_skips_samples_when_too_many_wait_and_counts_them() -> None:
    client = Client()
    client.watch(["r"])
    for _ in range(12):
        client.add_samples("r", [column("r", MAX_SAMPLES // 10)])
    assert client.sample_count == MAX_SAMPLES
    assert client.skipped_samples == {"r": 2 * (MAX_SAMPLES // 10)}


def test_client_that_watches_others_forgets_what_it_does_not_watch_any_more() -> None:
    client = Client()
    client.watch(["a", "b"])
    client.add_samples("a", [column("a", MAX_SAMPLES - 10)])
    client.add_samples("b", [column("b", 10), column("b", 7)])
    client.watch(["b"])
    assert set(client.samples) == {"b"}
    assert client.sample_count == 10
    assert client.skipped_samples == {"b": 7}
    client.watch([])
    assert (client.samples, client.sample_count, client.skipped_samples) == ({}, 0, {})


def test_client_that_only_sends_rubbish_costs_little() -> None:
    client = Client()
    for n in range(1000):
        client.complain(f"fault {n}")
        client.ping()
    assert len(client.faults) == MAX_FAULTS


def test_client_keeps_large_events_up_to_a_size_and_counts_the_others() -> None:
    client = Client()
    for n in range(100):
        client.add_event(event(n, 200_000))
    assert sum(map(len, client.events)) == client.event_bytes <= MAX_EVENT_BYTES
    assert [json.loads(kept)["id"] for kept in client.events] == list(range(90, 100))
    assert client.skipped == 90
    client.add_event(event(100, MAX_EVENT_BYTES))
    assert (list(client.events), client.event_bytes, client.skipped) == ([], 0, 101)


@pytest.mark.parametrize(("kind", "value"), [("text", "x" * 100_000), ("object", {"a": "x" * 100_000})])
def test_client_skips_samples_that_are_too_large_and_counts_them(kind: Any, value: Any) -> None:
    client = Client()
    client.watch(["r", "q"])
    for n in range(50):
        client.add_samples("r", [Column("r", "x", kind, None, [n], [value])])
    kept = client.samples["r"]["x"]
    assert len(kept.ts) == MAX_SAMPLE_BYTES // 100_040
    assert client.skipped_samples == {"r": 50 - len(kept.ts)}
    client.watch(["q"])
    client.add_samples("q", [Column("q", "x", kind, None, [1], [value])])
    assert client.skipped_samples == {}


def happen(running: RunningHub, n: int, size: int) -> None:
    stored = StoredEvent(
        id=1000 + n, ts=n, robot=None, actor="hub", name="n", severity="info", message=None, data={"x": "x" * size}
    )
    running.hub.bus.publish(EventCommitted(actor=HUB, event=stored))


async def test_feed_remembers_large_events_up_to_a_size_and_sends_a_snapshot_to_who_missed_more(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path) as running, Feed(running.hub) as feed:
        begin = feed.position
        happen(running, 0, 10)
        early = feed.position
        for n in range(1, 200):
            happen(running, n, 200_000)
        kept = sum(len(kept.json) for kept in feed._events)
        assert REMEMBERED_BYTES - 250_000 < kept == feed._event_bytes <= REMEMBERED_BYTES
        for since in (begin, early, None):
            frame = feed.first_frame(since)
            assert json.loads(frame)["type"] == "snapshot"
            assert len(frame) < MAX_EVENT_BYTES + 10_000
        late = feed.position
        for n in range(200, 220):
            happen(running, n, 200_000)
        frame = json.loads(feed.first_frame(late))
        assert frame["type"] == "changes"
        assert [one["id"] for one in frame["events"]] == list(range(1210, 1220))
        assert frame["skipped"] == 10


async def test_feed_tells_signs_of_life_of_a_large_fleet_less_often_and_changes_at_once(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running, Feed(running.hub) as feed:
        robot = running.robot("r")
        await robot.presence()
        client = Client()
        feed.join(client)

        async def told_after(seconds: float) -> bool:
            client.robots.clear()
            await clock.advance(seconds)
            running.hub.bus.publish(RobotSeen(actor=HUB, robot="r", at=clock.now()))
            return bool(client.robots)

        assert await told_after(SEEN_EVERY)
        assert not await told_after(SEEN_EVERY / 2)
        assert await told_after(SEEN_EVERY / 2)
        feed._seen.update(dict.fromkeys(map(str, range(4 * SEEN_PER_SECOND)), clock.monotonic()))
        assert not await told_after(2.0)
        assert await told_after(3.0)
        running.hub.bus.publish(RobotChanged(actor=HUB, robot="r"))
        assert client.robots == {"r"}
