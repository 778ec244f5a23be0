"""Robots at the hub's own WebSocket, over real sockets, with a hub that has no broker."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from botyard.core.hub import Hub
from botyard.plugin.manager import build_plugin_manager
from botyard.testing import PLUGINS, hub_config, wait_until
from botyard.transport.websocket import WebSocketTransport
from botyard_schemas import Command, Envelope
from tests.hub.support import make_flaky, until_equal

DEFAULTS = (*PLUGINS, "botyard.transport.websocket")


class Running:
    """A hub, its API, and robots' sockets."""

    def __init__(self, hub: Hub, api: httpx.AsyncClient) -> None:
        self.hub = hub
        self.api = api
        transport = hub.transports[0]
        assert isinstance(transport, WebSocketTransport)
        self.transport = transport

    async def get(self, path: str, **query: Any) -> Any:
        return (await self.api.get(f"/api/v1/{path}", params=query)).json()

    def socket(self, robot: str | None = "r1", **options: Any) -> connect:
        query = f"?robot={robot}" if robot else ""
        return connect(self.transport.address + query, compression=None, **options)

    async def presence(self, robot: str = "r1") -> tuple[str, str]:
        answer = await self.api.get(f"/api/v1/robots/{robot}")
        found = answer.json()["status"]["presence"] if answer.status_code == 200 else {}
        return found.get("status", ""), found.get("reason", "")

    async def until(self, status: str, reason: str) -> None:
        await until_equal(self.presence, (status, reason))

    async def registrations(self) -> list[str]:
        return [item["status"]["registration"] for item in (await self.get("robots"))["items"]]

    async def events(self) -> list[str]:
        return [item["name"] for item in reversed((await self.get("events", robot="r1"))["items"])]


@asynccontextmanager
async def running(folder: Path, **sections: Any) -> AsyncIterator[Running]:
    manager = build_plugin_manager(defaults=DEFAULTS)
    async with (
        Hub(hub_config(folder, **sections), plugins=manager) as hub,
        httpx.AsyncClient(base_url=hub.web_url or "", timeout=30) as api,
    ):
        yield Running(hub, api)


def envelope(kind: str, body: dict[str, Any], seq: int = 0, **changes: Any) -> str:
    raw = {"v": 1, "robot": "r1", "ts": time.time_ns() // 1000, "type": kind, "body": body}
    return json.dumps({**raw, **({"epoch": "e1", "seq": seq} if seq else {}), **changes})


def event(seq: int, **changes: Any) -> str:
    return envelope("event", {"name": "hi", "severity": "info", "data": {"n": seq}}, seq, **changes)


def presence(status: str, reason: str, session: str = "s1") -> str:
    return envelope("presence", {"status": status, "reason": reason, "session": session})


async def acknowledged(socket: ClientConnection, seq: int) -> None:
    """Wait for the acknowledgement that reaches this number."""
    async with asyncio.timeout(10):
        while True:
            answer = json.loads(await socket.recv())
            if answer["type"] == "ack" and answer["body"]["seq"] >= seq:
                return


async def closing(socket: ClientConnection) -> tuple[int, str]:
    """The code and the sentence with which the hub closes a socket."""
    async with asyncio.timeout(10):
        await socket.wait_closed()
    return socket.close_code or 0, socket.close_reason or ""


@pytest.mark.parametrize("named", [True, False])
async def test_socket_takes_text_and_binary_frames_and_acknowledges_what_is_committed(
    tmp_path: Path, named: bool
) -> None:
    async with running(tmp_path) as hub:
        async with hub.socket("r1" if named else None) as socket:
            await socket.send(event(1))
            await socket.send(event(2).encode())
            await acknowledged(socket, 2)
        items = (await hub.get("events", robot="r1", name="hi"))["items"]
        assert [item["data"]["n"] for item in reversed(items)] == [1, 2]


async def test_socket_answers_time_and_carries_commands(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, hub.socket() as socket:
        await socket.send(envelope("time", {"origin": 7}))
        answer = json.loads(await socket.recv())
        assert (answer["type"], answer["body"]["origin"]) == ("time", 7)
        command = Command("c1", "goto", 2**50, {"x": 1})
        assert await hub.transport.send(Envelope("r1", 1, command))
        assert json.loads(await socket.recv())["body"]["id"] == "c1"
        assert not await hub.transport.send(Envelope("stranger", 1, command))


async def test_socket_that_closes_without_a_goodbye_is_said_to_be_closed_and_with_one_it_stopped(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as hub:
        async with hub.socket() as socket:
            await socket.send(presence("online", "connected"))
            await hub.until("online", "connected")
            socket.transport.abort()
        await hub.until("offline", "socket_closed")
        async with hub.socket() as socket:
            await socket.send(presence("online", "connected", "s2"))
            await socket.send(presence("offline", "stopped", "s2"))
        await hub.until("offline", "stopped")
        await wait_until(lambda: hub.transport.connections == 0)
        await until_equal(hub.events, ["robot.registered", "robot.offline", "robot.online", "robot.offline"])


async def test_socket_of_a_robot_that_says_no_presence_is_its_presence(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        async with hub.socket() as socket:
            await socket.send(event(1))
            await acknowledged(socket, 1)
            assert await hub.presence() == ("online", "connected")
        await hub.until("offline", "socket_closed")


async def test_socket_that_only_asks_for_the_time_says_nothing_about_presence(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        async with hub.socket() as carrying:
            await carrying.send(presence("online", "connected", "s1"))
            await hub.until("online", "connected")
        async with hub.socket() as trying:
            await trying.send(envelope("time", {"origin": 7}))
            await trying.recv()
        await wait_until(lambda: hub.transport.connections == 0)
        await until_equal(hub.events, ["robot.registered", "robot.offline"])


async def test_newest_socket_of_a_robot_counts_and_the_older_one_hears_why(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, hub.socket() as old:
        await old.send(presence("online", "connected", "s1"))
        await hub.until("online", "connected")
        async with hub.socket() as new:
            await new.send(presence("online", "connected", "s2"))
            assert await closing(old) == (4001, "a newer connection of this robot has taken over")
            await new.send(event(1))
            await acknowledged(new, 1)
            assert (await hub.get("hub"))["transports"][0]["connections"] == 1
            assert await hub.presence() == ("online", "connected")
        await hub.until("offline", "socket_closed")
        await until_equal(hub.events, ["robot.registered", "hi", "robot.offline"])


async def test_robot_that_moves_between_sockets_is_acknowledged_where_it_is(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        async with hub.socket() as first:
            await first.send(event(1))
            await acknowledged(first, 1)
        async with hub.socket() as second:
            await second.send(event(1))
            await second.send(event(2))
            await acknowledged(second, 2)
        assert (await hub.get("hub"))["counters"]["duplicate"] == 1


async def test_rubbish_on_a_socket_is_quarantined_and_the_socket_lives(tmp_path: Path) -> None:
    async with running(tmp_path, ingest={"max_message_bytes": 2000}) as hub, hub.socket() as socket:
        await socket.send(event(1))
        await acknowledged(socket, 1)
        await socket.send("no JSON")
        await socket.send(b"\xff\xfe")
        await socket.send(event(1, robot="other"))
        await socket.send(event(2, padding="x" * 3000))
        await socket.send(event(3, type="a/b"))
        await socket.send(envelope("presence", {"status": "away"}))
        await socket.send(event(4))
        await socket.send(event(3))
        await acknowledged(socket, 4)
        kept = [item["reason"] for item in (await hub.get("quarantine", robot="r1"))["items"]]
        assert sorted(kept) == sorted(["malformed_json"] * 2 + ["oversized"] + ["topic_mismatch"] * 2 + ["schema"])
        assert (await hub.get("robots"))["items"][0]["id"] == "r1"


async def test_frame_that_no_server_takes_ends_its_socket_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.transport.robotline.SILENT_AFTER", 1.0)  # Hypercorn leaves the connection open
    async with running(tmp_path) as hub, hub.socket() as one, hub.socket("r2") as other:
        await one.send("x" * (9 * 1024 * 1024))
        await other.send(event(1, robot="r2"))
        await acknowledged(other, 1)
        assert (await closing(one))[0] == 1009


async def test_socket_without_a_name_whose_first_frame_names_no_robot_hears_what_is_missing(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, hub.socket(None) as socket:
        await socket.send("{}")
        code, reason = await closing(socket)
        assert (code, reason.startswith("no message has named the robot")) == (4005, True)


@pytest.mark.parametrize(
    ("query", "headers", "status", "said"),
    [
        ("?robot=a%20b", {}, 400, "robot: 'a b' is not a robot id"),
        ("?robot=r1", {"Host": "evil.example"}, 421, "this hub is not called 'evil.example"),
        ("?robot=r1", {"Origin": "https://evil.example"}, 403, "pages of https://evil.example may not use this hub"),
        ("?robot=r1", {"X-Forwarded-For": "10.0.0.1"}, 401, "an access token is needed"),
        ("?robot=r1", {"Authorization": "Bearer wrong"}, 401, "the access token is wrong"),
        ("?robot=r1", {"Authorization": "Basic !"}, 401, "the access token is wrong"),
    ],
)
async def test_refused_robot_hears_why_in_one_sentence(
    tmp_path: Path, query: str, headers: dict[str, str], status: int, said: str
) -> None:
    async with running(tmp_path) as hub:
        url = hub.transport.address
        if host := headers.get("Host"):
            port = url.split(":")[2].split("/")[0]
            attempt = connect(f"ws://{host}:{port}/edge/v1{query}", host="127.0.0.1")
        else:
            attempt = connect(url + query, additional_headers=headers)
        with pytest.raises(InvalidStatus) as caught:
            await attempt
        response = caught.value.response
        assert response.status_code == status
        assert said in json.loads(response.body)["detail"]
        assert (await hub.get("robots"))["items"] == []


@pytest.mark.parametrize("way", ["bearer", "basic", "subprotocol"])
async def test_token_lets_a_robot_in_that_a_proxy_forwards(tmp_path: Path, way: str) -> None:
    async with running(tmp_path, web={"trust_loopback": False}) as hub:
        token = (tmp_path / "data" / "token").read_text().strip()
        headers = {"X-Forwarded-For": "10.0.0.1"}
        options: dict[str, Any] = {}
        url = hub.transport.address + "?robot=r1"
        if way == "bearer":
            headers["Authorization"] = f"Bearer {token}"
        elif way == "basic":
            url = url.replace("ws://", f"ws://r1:{token}@")
        else:
            options = {"subprotocols": ["botyard.v1", f"botyard.token.{token}"]}
        async with connect(url, additional_headers=headers, **options) as socket:
            await socket.send(event(1))
            await acknowledged(socket, 1)
            assert socket.subprotocol == ("botyard.v1" if way == "subprotocol" else None)


async def test_loopback_that_is_not_trusted_needs_the_token_at_the_socket_too(tmp_path: Path) -> None:
    async with running(tmp_path, web={"trust_loopback": False}) as hub:
        with pytest.raises(InvalidStatus) as caught:
            await hub.socket()
        assert caught.value.response.status_code == 401


async def test_pending_robot_keeps_its_socket_and_gets_no_acknowledgement(tmp_path: Path) -> None:
    async with running(tmp_path, fleet={"auto_accept": False}) as hub, hub.socket() as socket:
        await socket.send(event(1))
        await until_equal(hub.registrations, ["pending"])
        await hub.api.post("/api/v1/robots/r1/accept")
        await socket.send(event(1))
        await acknowledged(socket, 1)


async def test_removed_robot_is_told_and_not_brought_back_by_its_own_end(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, hub.socket() as socket:
        await socket.send(event(1))
        await acknowledged(socket, 1)
        assert (await hub.api.delete("/api/v1/robots/r1")).status_code == 204
        assert await closing(socket) == (4002, "the robot was removed from the hub")
        await wait_until(lambda: hub.transport.connections == 0)
        assert (await hub.get("robots"))["items"] == []


async def test_hub_that_stops_says_so_and_leaves_presence_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        socket = await hub.socket()
        await socket.send(event(1))
        await acknowledged(socket, 1)
    assert await closing(socket) == (1012, "the hub stops")
    async with running(tmp_path) as hub:
        assert "robot.offline" not in await hub.events()


async def test_silent_socket_is_closed_with_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botyard.transport.robotline.SILENT_AFTER", 0.3)
    async with running(tmp_path) as hub, hub.socket() as socket:
        await socket.send(event(1))
        code, reason = await closing(socket)
        assert (code, reason[:21]) == (4003, "nothing was heard for")
        await hub.until("offline", "socket_closed")


async def test_hub_that_is_behind_stops_reading_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = make_flaky(monkeypatch)
    async with running(tmp_path, ingest={"batch_samples": 20}) as hub, hub.socket() as stuck:
        await stuck.send(event(1))
        await acknowledged(stuck, 1)
        flaky().broken = True
        sending = asyncio.create_task(send_many(stuck, range(2, 2002)))
        counters = hub.hub.ingest.counters if hub.hub.ingest else Counter()
        await wait_until(lambda: counters["received"] > 5)
        await asyncio.sleep(0.5)
        assert counters["received"] < 100
        assert not sending.done(), "the robot feels it"
        async with hub.socket() as fresh:
            await wait_until(lambda: sending.done())
            assert (await hub.get("hub"))["transports"][0]["connections"] == 1
            flaky().broken = False
            await send_many(fresh, range(2, 202))
            await acknowledged(fresh, 201)
    assert isinstance(sending.exception(), ConnectionClosed)


async def send_many(socket: ClientConnection, numbers: range) -> None:
    for seq in numbers:
        await socket.send(event(seq, padding="x" * 10_000))


async def test_plain_request_to_the_socket_hears_how_to_open_it(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        answer = await hub.api.get("/edge/v1")
        assert answer.status_code == 426
        assert "ws://" in answer.json()["detail"]


async def test_hub_without_the_role_web_has_no_socket(tmp_path: Path) -> None:
    manager = build_plugin_manager(defaults=DEFAULTS)
    async with Hub(hub_config(tmp_path, roles=["ingest"]), plugins=manager) as hub:
        assert hub.transports == []
