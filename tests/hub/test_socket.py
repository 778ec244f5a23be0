"""The WebSocket `/api/v1/ws`: a snapshot, then changes; resumed, watched, and bounded for who is slow."""

import asyncio
import contextlib
import json
import socket as sockets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from botyard.testing import RunningHub, VirtualClock, running_hub, wait_until
from botyard.web.client import MAX_EVENTS, MAX_WATCHED
from botyard.web.frames import ServerFrame
from tests.hub.support import get, samples

decoder = msgspec.json.Decoder(ServerFrame)
SETTLED = 0.3


async def test_socket_at_a_path_that_is_not_there_is_a_problem(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(tmp_path) as running:
        url = (running.hub.web_url or "").replace("http", "ws", 1)
        with pytest.raises(InvalidStatus) as refused:
            async with connect(url + "/api/v1/robots"):
                pass
        assert refused.value.response.status_code in (400, 404, 405)
        assert json.loads(refused.value.response.body or b"")["instance"] == "/api/v1/robots"
    assert caplog.text == ""


async def test_socket_mistake_of_the_hub_is_logged_with_its_path_and_ends_the_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("botyard.web.feed.Feed.first_frame", lambda *_: 1 / 0)
    async with running_hub(tmp_path) as running:
        url = (running.hub.web_url or "").replace("http", "ws", 1)
        async with connect(url + "/api/v1/ws") as socket:
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    assert "GET /api/v1/ws failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "Not within a request context" not in caplog.text


class Viewer:
    """A client that keeps what it was told, as the dashboard does."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[dict[str, Any]] = []
        self.robots: dict[str, Any] = {}

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(20):
            text = await self.socket.recv()
        decoder.decode(text)  # every frame keeps the model that the dashboard's types are made from
        frame: dict[str, Any] = json.loads(text)
        self.frames.append(frame)
        if frame["type"] == "snapshot":
            self.robots = {}
        for robot in frame.get("robots", []):
            self.robots[robot["id"]] = robot
        for gone in frame.get("removed", []):
            self.robots.pop(gone, None)
        return frame

    async def until(self, condition: Callable[["Viewer"], Any]) -> None:
        while not condition(self):
            await self.next()

    async def say(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def watch(self, *robots: str) -> None:
        """Watch, and wait until the hub has understood it."""
        await self.say(type="watch", robots=robots)
        await self.ping()

    async def ping(self) -> None:
        """Ask for an answer, which everything that was said before precedes."""
        await self.say(type="ping")
        while True:
            frame = await self.next()
            if frame["type"] == "changes" and not (frame["robots"] or frame["removed"] or frame["events"]):
                return

    @property
    def id(self) -> str:
        return str(next(frame["id"] for frame in reversed(self.frames) if "id" in frame))

    @property
    def events(self) -> list[str]:
        return [event["name"] for frame in self.frames for event in frame.get("events", [])]


@asynccontextmanager
async def viewer(running: RunningHub, since: str | None = None, **options: Any) -> AsyncIterator[Viewer]:
    query = f"?since={since}" if since is not None else ""
    url = (running.hub.web_url or "").replace("http", "ws", 1) + "/api/v1/ws" + query
    async with connect(url, max_size=None, **options) as socket:
        yield Viewer(socket)


async def test_socket_begins_with_a_snapshot_of_everything(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        await running.robot("a").state(pose={"frame": "hall", "x": 1, "y": 2, "yaw": 0})
        await running.robot("b").event("docked")
        await running.transport.committed()
        async with viewer(running) as seen:
            snapshot = await seen.next()
            assert snapshot["type"] == "snapshot"
            assert snapshot["robots"] == (await get(running, "robots"))["items"]
            events = (await get(running, "events"))["items"]
            assert snapshot["events"] == sorted(events, key=lambda event: event["id"])
            assert {key: snapshot["hub"][key] for key in ("version", "robots")} == {
                key: (await get(running, "hub"))[key] for key in ("version", "robots")
            }


async def test_socket_snapshot_has_no_event_twice_and_misses_none_at_the_start_of_a_hub(tmp_path: Path) -> None:
    for _ in range(3):
        async with running_hub(tmp_path, ingest={"batch_age": 0}) as running:
            await running.robot("r").telemetry({"x": 1})
            await running.transport.committed()
            async with viewer(running) as seen:
                ids = [event["id"] for event in (await seen.next())["events"]]
                stored = [event["id"] for event in (await get(running, "events", limit=50))["items"]]
                assert sorted(ids) == sorted(stored)


async def test_socket_tells_changes_robots_whole_and_removals(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        async with viewer(running) as seen:
            await seen.next()
            await robot.state(battery={"level": 0.75})
            await seen.until(lambda seen: "r" in seen.robots and seen.robots["r"]["status"]["state"])
            assert seen.robots["r"] == await get(running, "robots/r")
            await running.api.patch("/api/v1/robots/r", json={"name": "Otto"})
            await seen.until(lambda seen: seen.robots["r"]["spec"]["name"] == "Otto")
            await running.api.delete("/api/v1/robots/r")
            await seen.until(lambda seen: not seen.robots)
            assert seen.frames[-1]["removed"] == ["r"]
            running.transport.disconnect("gone")
            await seen.until(lambda seen: seen.frames[-1].get("hub"))
            assert seen.frames[-1]["hub"]["broker"]["error"] == "gone"
            await seen.until(lambda seen: "broker.lost" in seen.events)


async def test_socket_events_come_once_each_and_in_order(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        async with viewer(running) as seen:
            await seen.next()
            for n in range(30):
                await robot.event(f"e{n}")
                await asyncio.sleep(0.003)
            await seen.until(lambda seen: "e29" in seen.events)
            assert [name for name in seen.events if name.startswith("e")] == [f"e{n}" for n in range(30)]


async def test_socket_resumed_gives_exactly_what_was_missed(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        a, b, c = (running.robot(name) for name in "abc")
        for robot in (a, b, c):
            await robot.presence()
        await a.event("before")
        await running.transport.committed()
        async with viewer(running) as seen:
            await seen.until(lambda seen: "before" in seen.events and len(seen.robots) == 3)
            await seen.ping()
        await b.state(busy=True)
        await a.event("missed.1")
        await a.event("missed.2")
        await running.api.delete("/api/v1/robots/c")
        await running.transport.committed()
        async with asyncio.timeout(20):  # the event of the removal is no message that anybody waits for
            while not (await get(running, "events", name="robot.removed"))["items"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        async with viewer(running, since=seen.id) as again:
            frame = await again.next()
            assert frame["type"] == "changes"
            assert [robot["id"] for robot in frame["robots"] if robot["id"] != "a"] == ["b"]
            assert frame["removed"] == ["c"]
            assert [event["name"] for event in frame["events"]] == ["missed.1", "missed.2", "robot.removed"]
            assert frame["hub"]
        async with viewer(running, since=again.id) as third:
            assert (await third.next())["events"] == []


async def test_socket_never_says_a_position_before_what_leads_to_it(tmp_path: Path) -> None:
    """A client that is cut off between any two frames resumes without a hole."""
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        async with viewer(running) as seen:
            await seen.next()

            async def ping() -> None:
                for _ in range(200):
                    await seen.say(type="ping")
                    await asyncio.sleep(0.001)

            pinging = asyncio.create_task(ping())
            for n in range(60):
                await robot.event(f"e{n}")
                await asyncio.sleep(0.003)
            await seen.until(lambda seen: "e59" in seen.events)
            await pinging
        everything = [name for name in seen.events if name.startswith("e")]
        for at, frame in enumerate(seen.frames):
            known = [event["name"] for before in seen.frames[: at + 1] for event in before.get("events", [])]
            async with viewer(running, since=frame["id"]) as again:
                missed = [event["name"] for event in (await again.next())["events"]]
            assert [name for name in known + missed if name.startswith("e")] == everything


UNKNOWN_POSITIONS = [
    "",
    "x",
    "-",
    "deadbeef-1",
    "{boot}-",
    "{boot}-x",
    "{boot}--1",
    "{boot}-²",
    "{boot}-99999999",
    "{boot}-" + "9" * 5000,
]


async def test_socket_resumed_from_an_unknown_position_begins_with_a_snapshot(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        async with viewer(running) as seen:
            boot = (await seen.next())["id"].partition("-")[0]
        for since in UNKNOWN_POSITIONS:
            async with viewer(running, since=since.replace("{boot}", boot)) as seen:
                assert (await seen.next())["type"] == "snapshot", since


async def test_socket_resumed_after_a_restart_or_from_too_long_ago_begins_with_a_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.web.feed.REMEMBERED", 20)
    async with running_hub(tmp_path) as running:
        robot = running.robot("r")
        async with viewer(running) as seen:
            old = (await seen.next())["id"]
            for n in range(25):
                await robot.event(f"e{n}")
            await running.transport.committed()
            await seen.until(lambda seen: "e24" in seen.events)
            await seen.ping()
            recent = seen.id
        async with viewer(running, since=old) as seen:
            assert (await seen.next())["type"] == "snapshot"
        async with viewer(running, since=recent) as seen:
            assert (await seen.next())["type"] == "changes"
    async with running_hub(tmp_path) as running, viewer(running, since=recent) as seen:
        assert (await seen.next())["type"] == "snapshot"


async def test_socket_watching_gives_every_sample_of_these_robots_and_no_others(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        robot, other = running.robot("r"), running.robot("other")
        async with viewer(running) as seen:
            await seen.next()
            await robot.post(samples(robot, -1))  # before watching
            await seen.watch("r", "nobody")
            for n in range(40):
                await robot.post(samples(robot, 2 * n, 2 * n + 1))
                await other.post(samples(other, n))
                await asyncio.sleep(0.002)
            await seen.until(lambda seen: len(watched(seen)) >= 80)
            assert watched(seen) == list(range(80))
            readings = [frame for frame in seen.frames if frame["type"] == "readings"]
            assert {frame["robot"] for frame in readings} == {"r"}
            assert {frame["skipped"] for frame in readings} == {0}
            assert {channel["type"] for frame in readings for channel in frame["channels"]} == {"number"}

            await seen.watch("other")
            await robot.post(samples(robot, 1000))
            await other.post(samples(other, 2000))
            await seen.until(lambda seen: 2000 in watched(seen))
            assert 1000 not in watched(seen)
            await seen.watch()
            await other.post(samples(other, 3000))
            await seen.ping()
            assert 3000 not in watched(seen)


def watched(seen: Viewer) -> list[float]:
    return [
        value
        for frame in seen.frames
        if frame["type"] == "readings"
        for channel in frame["channels"]
        for value in channel["values"]
    ]


BAD_FRAMES: list[tuple[str | bytes, str]] = [
    ("", "not understood: Input data was truncated"),
    ("{", "not understood: Input data was truncated"),
    ("[]", "not understood: Expected `object`, got `array`"),
    ('{"type": "dance"}', "not understood: Invalid value 'dance' - at `$.type`"),
    ('{"type": "watch"}', "not understood: Object missing required field `robots`"),
    ('{"type": "watch", "robots": [1]}', "not understood: Expected `str`, got `int` - at `$.robots[0]`"),
    ('{"type": "ping", "x": 1}', "not understood: Object contains unknown field `x`"),
    (
        json.dumps({"type": "watch", "robots": ["r"] * 17}),
        f"robots: 17 robots, at most {MAX_WATCHED} can be watched",
    ),
    (b"\xff\xfe", "not understood: "),
    (b'"\xff"', "not understood: "),
    ("[" * 100_000, "not understood: "),
]


async def test_socket_answers_a_bad_frame_with_an_error_and_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running, viewer(running) as seen:
        await seen.next()
        for frame, detail in BAD_FRAMES:
            await seen.socket.send(frame)
            await seen.until(lambda seen: seen.frames[-1]["type"] == "error")
            assert seen.frames[-1]["detail"].startswith(detail), frame[:40]
            await seen.ping()


async def test_socket_robot_that_only_gives_signs_of_life_is_told_at_most_once_a_second(tmp_path: Path) -> None:
    clock = VirtualClock()
    async with running_hub(tmp_path, clock=clock) as running:
        robot = running.robot("r")
        await robot.presence()
        async with viewer(running) as seen:
            await seen.next()
            await seen.ping()
            for _ in range(50):
                await robot.presence(reason="heartbeat")
            await seen.ping()
            for _ in range(50):
                await robot.presence(reason="heartbeat")
            await seen.ping()
            told = sum(robot["id"] == "r" for frame in seen.frames[1:] for robot in frame.get("robots", []))
            assert told <= 2
            await clock.advance(1.0)
            await robot.presence(reason="heartbeat")
            await seen.until(lambda seen: seen.robots["r"]["status"]["last_seen"] == clock.now())


async def test_socket_client_that_does_not_read_costs_a_bounded_memory_and_catches_up(tmp_path: Path) -> None:
    async with running_hub(tmp_path, ingest={"batch_age": 0}) as running:
        robot = running.robot("r")
        await robot.presence()
        small = sockets.socket()
        small.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        port = int((running.hub.web_url or "").rpartition(":")[2])
        small.connect(("127.0.0.1", port))
        async with viewer(running, sock=small, max_queue=1, compression=None) as seen:
            first = await seen.next()
            (client,) = feed_of(running)._clients
            sent = 0
            # fill what the network holds, until it stays with the hub
            while len(client.events) < 20:
                await robot.event("big", data={"x": "x" * 100_000})
                sent += 1
                await running.transport.committed()
                await asyncio.sleep(0.002)
                assert sent < 500
            for n in range(MAX_EVENTS + 100):
                await robot.event(f"small.{n}")
                sent += 1
            await robot.state(doing="the end")
            await running.transport.committed()
            await asyncio.sleep(SETTLED)
            assert len(client.events) == MAX_EVENTS
            assert client.skipped >= 100
            assert client.robots == {"r"}
            # the others are served meanwhile
            async with viewer(running) as other:
                assert (await other.next())["type"] == "snapshot"
            await seen.until(lambda seen: f"small.{MAX_EVENTS + 99}" in seen.events)
            await seen.ping()
            got = [name for name in seen.events if name.startswith(("big", "small"))]
            skipped = sum(frame.get("skipped", 0) for frame in seen.frames)
            assert len(got) + skipped == sent
            assert seen.robots["r"]["status"]["state"]["doing"] == "the end"
            assert first["type"] == "snapshot"


def feed_of(running: RunningHub) -> Any:
    """The feed, which only the web server knows."""
    from botyard.web.feed import Feed

    owners = (getattr(handler, "__self__", None) for found in running.hub.bus._handlers.values() for handler in found)
    return next(owner for owner in owners if isinstance(owner, Feed))


async def test_socket_client_that_sends_without_reading_fills_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running, viewer(running, max_queue=1) as seen:
        await seen.next()
        (client,) = feed_of(running)._clients
        for _ in range(5000):
            await seen.socket.send("rubbish")
        await asyncio.sleep(0)
        assert len(client.faults) <= 16
        await seen.ping()


async def test_socket_is_closed_when_the_hub_stops_and_a_client_that_does_not_read_does_not_delay_it(
    tmp_path: Path,
) -> None:
    async with contextlib.AsyncExitStack() as clients:
        async with asyncio.timeout(30):
            async with running_hub(tmp_path) as running:
                reading = await clients.enter_async_context(viewer(running))
                idle = await clients.enter_async_context(viewer(running, max_queue=1, compression=None))
                await reading.next()
                done = asyncio.create_task(_read_to_the_end(reading))
                robot = running.robot("r")
                for _ in range(100):
                    await robot.event("big", data={"x": "x" * 100_000})
                await running.transport.committed()
                before = asyncio.get_running_loop().time()
            assert asyncio.get_running_loop().time() - before < 10
        idle.socket.transport.abort()
        closed = await done
        assert closed.rcvd
        assert (closed.rcvd.code, closed.rcvd.reason) == (1012, "the hub stops")


async def _read_to_the_end(seen: Viewer) -> ConnectionClosed:
    while True:
        try:
            await seen.next()
        except ConnectionClosed as closed:
            return closed


async def test_socket_clients_that_leave_are_forgotten(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        feed = feed_of(running)
        for _ in range(5):
            async with viewer(running) as seen:
                await seen.next()
                assert len(feed._clients) == 1
            await wait_until(lambda: not feed._clients)
        async with viewer(running) as seen:
            await seen.next()
            seen.socket.transport.abort()
            await wait_until(lambda: not feed._clients)
