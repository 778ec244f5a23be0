"""The local page's HTTP API over real sockets: what it says, whom it lets do what, and that nothing breaks it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_edge.local import http
from botyard_edge.local.page import LocalPage, PageSettings
from botyard_edge.local.status import Face
from botyard_edge.safety import SafetyNode
from botyard_edge.testing import VirtualClock
from botyard_schemas import State
from tests.processes import free_port

OURS = {"X-Botyard": "local"}


class Robot:
    """A safety node with its page, and a visitor."""

    def __init__(self, folder: Path, **where: Any) -> None:
        self.safety = SafetyNode(clock=VirtualClock())
        self.key_file = folder / "r1.local.key"
        self.settings = PageSettings(**({"port": free_port()} | where))
        face = Face("r1", self.safety, clock=VirtualClock(), state=self.state, to=lambda: None)
        self.page = LocalPage(face, self.settings, self.key_file)

    def state(self) -> State:
        return State(self.safety.mode, "ok", self.safety.reason)

    @property
    def key(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key_file.read_text().strip()}"}

    @asynccontextmanager
    async def visited(self) -> AsyncIterator[httpx.AsyncClient]:
        async with self.page:
            url = str(self.page.address).replace("0.0.0.0", "127.0.0.1")
            async with httpx.AsyncClient(base_url=url, trust_env=False) as visitor:
                yield visitor


async def ask(visitor: httpx.AsyncClient, path: str, headers: dict[str, str], **wish: Any) -> tuple[int, str]:
    answer = await visitor.post(path, headers=headers, json={"robot": "r1", **wish})
    return answer.status_code, answer.json().get("detail", answer.json().get("mode"))


async def test_page_is_one_file_that_may_load_nothing_else(tmp_path: Path) -> None:
    async with Robot(tmp_path).visited() as visitor:
        page = await visitor.get("/")
        assert page.status_code == 200
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "Access-Control-Allow-Origin" not in page.headers
        assert "src=" not in page.text
        head = await visitor.head("/")
        assert (head.headers["Content-Length"], head.content) == (page.headers["Content-Length"], b"")


async def test_everybody_on_the_machine_may_stop_and_only_who_has_the_key_may_clear(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    async with robot.visited() as visitor:
        assert robot.key_file.stat().st_mode & 0o777 == 0o600
        stopped = await ask(visitor, "/api/v1/estop", OURS, who="Kim", reason="a child\non the floor")
        assert stopped == (200, "estop")
        assert robot.safety.reason == "Kim pressed the emergency stop at the robot: a child on the floor"
        wrong = {**OURS, "Authorization": "Bearer 0"}
        for headers in (OURS, wrong):
            refused = await ask(visitor, "/api/v1/estop/clear", headers, reason="it is gone")
            assert refused == (401, "clearing needs the key that `botyard-edge status` prints at the robot")
        ours = OURS | robot.key
        assert (await ask(visitor, "/api/v1/estop/clear", ours))[0] == 400
        assert (await ask(visitor, "/api/v1/estop/clear", ours, reason="it is gone")) == (200, "auto")


async def test_clearing_while_the_cause_lasts_is_refused_with_the_cause(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    async with robot.visited() as visitor:
        robot.safety.heard("io", {"estop_inputs": {"red": True}})
        (cause,) = (await visitor.get("/api/v1/status")).json()["causes"]
        assert (cause["reason"], cause["active"], cause["latched"]) == ("io/red is pressed", True, True)
        refused = await ask(visitor, "/api/v1/estop/clear", OURS | robot.key, reason="looks fine")
        assert refused == (409, "cannot be cleared while its cause lasts: io/red is pressed")
        assert robot.safety.mode == "estop"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),  # a name that was turned round to 127.0.0.1
        ({"Host": "evil.example:8090"}, 421),
        ({"Host": "192.0.2.7"}, 421),
        ({"Host": "["}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://localhost:1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"X-Botyard": ""}, 403),  # what a form of a foreign page could send
    ],
)
async def test_foreign_web_page_can_stop_and_clear_nothing(
    headers: dict[str, str], status: int, tmp_path: Path
) -> None:
    robot = Robot(tmp_path)
    robot.safety.estop("red")
    async with robot.visited() as visitor:
        for path in ("/api/v1/estop", "/api/v1/estop/clear"):
            got, sentence = await ask(visitor, path, OURS | robot.key | headers, reason="x")
            assert got == status, sentence
    assert [cause.reason for cause in robot.safety.core.causes] == ["red"]


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
async def test_own_page_is_served_under_every_name_of_the_loopback(name: str, tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    async with robot.visited() as visitor:
        host = f"{name}:9000"  # as an ssh tunnel changes it
        headers = OURS | {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert await ask(visitor, "/api/v1/estop", headers) == (200, "estop")


async def test_wish_for_another_robot_that_had_this_port_is_refused(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    async with robot.visited() as visitor:
        got, sentence = await ask(visitor, "/api/v1/estop", OURS, robot="r2")
        assert (got, sentence) == (409, "robot: 'r2' is meant, and this is 'r1'; load the page anew")
        assert robot.safety.mode == "auto"


async def test_page_for_other_machines_needs_the_key_for_everything(tmp_path: Path) -> None:
    robot = Robot(tmp_path, host="0.0.0.0")
    async with robot.visited() as visitor:
        assert (await visitor.get("/")).status_code == 200
        assert (await visitor.get("/api/v1/status")).status_code == 401
        assert (await ask(visitor, "/api/v1/estop", OURS))[0] == 401
        assert (await visitor.get("/api/v1/status", headers=robot.key)).json()["robot"] == "r1"
        assert (await visitor.get("/", headers={"Host": "evil.example"})).status_code == 421


async def test_robots_that_want_the_same_port_get_one_each(tmp_path: Path) -> None:
    robots = [Robot(tmp_path, port=port) for port in [free_port()] * 3]
    async with robots[0].page, robots[1].page, robots[2].page:
        assert len({robot.page.address for robot in robots}) == 3


async def test_page_without_a_free_port_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http, "PORTS", 1)
    first, second = (Robot(tmp_path, port=port) for port in [free_port()] * 2)
    async with first.page, second.page:
        assert second.page.address is None
        assert second.page.address_with_key is None
    assert "there is no local page" in caplog.text


async def test_key_stays_the_same_across_starts_and_is_made_anew_when_it_is_spoilt(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    keys = []
    for text in (None, None, "\n"):
        if text is not None:
            robot.key_file.write_text(text)
        async with Robot(tmp_path).page as page:
            keys.append(str(page.address_with_key).partition("#key=")[2])
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[2]) == 32


async def test_wrong_paths_methods_and_bodies_get_one_sentence(tmp_path: Path) -> None:
    async with Robot(tmp_path).visited() as visitor:
        assert (await visitor.get("/api/v1/robots")).status_code == 404
        wrong = await visitor.put("/api/v1/status")
        assert (wrong.status_code, wrong.headers["Allow"]) == (405, "GET, HEAD")
        for body in (b"", b"{", b'{"robot": 1}', b"[" * 16_000):
            answer = await visitor.post("/api/v1/estop", headers=OURS, content=body)
            assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")
        assert (await visitor.post("/api/v1/estop", headers=OURS, content=b" " * 20_000)).status_code == 413
        long = await visitor.get("/", headers={"X-Long": "x" * 40_000})
        assert long.status_code == 431


async def send(port: int, rubbish: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with contextlib.suppress(ConnectionError):  # it may have had enough before the end
        writer.write(rubbish)
        writer.write_eof()
        await reader.read()
    writer.close()


def port_of(robot: Robot) -> int:
    return int(str(robot.page.address).rpartition(":")[2].strip("/"))


async def test_visitors_who_say_nothing_keep_the_stop_from_nobody(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    async with robot.visited() as visitor:
        idle = [await asyncio.open_connection("127.0.0.1", port_of(robot)) for _ in range(http.CONNECTIONS)]
        idle[3][1].write(b"GET / HTTP/1.1\r\nX-Slow: ")
        status, _ = await ask(visitor, "/api/v1/estop", OURS, robot="r1")
        assert (status, robot.safety.mode) == (200, "estop")
        async with asyncio.timeout(2):
            with contextlib.suppress(ConnectionError):
                assert await idle[0][0].read() == b""  # the one that waited longest had to go
        assert not idle[1][0].at_eof()
        for _, writer in idle:
            writer.close()


async def test_visitor_who_asks_again_and_again_is_not_the_one_who_has_to_go(tmp_path: Path) -> None:
    robot = Robot(tmp_path)
    async with robot.visited() as visitor:
        await visitor.get("/api/v1/status")
        (ours,) = visitor._transport._pool.connections  # type: ignore[attr-defined]
        idle = []
        for _ in range(2 * http.CONNECTIONS):
            idle.append(await asyncio.open_connection("127.0.0.1", port_of(robot)))
            assert (await visitor.get("/api/v1/status")).status_code == 200
        assert visitor._transport._pool.connections == [ours]  # type: ignore[attr-defined]
        for _, writer in idle:
            writer.close()


@pytest.mark.parametrize(
    "begins", [b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"]
)
async def test_request_that_is_not_made_or_not_ended_is_not_waited_for_long(
    begins: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WITHIN" if begins else "BETWEEN", 0.1)
    robot = Robot(tmp_path)
    async with robot.visited():
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(robot))
        writer.write(begins)
        async with asyncio.timeout(2):
            assert await reader.read() == b""
        writer.close()


@settings(deadline=None, max_examples=25)
@given(st.lists(st.binary(max_size=80) | st.sampled_from([b"GET / HTTP/1.1\r\n", b"Host: localhost\r\n\r\n"])))
def test_server_survives_whatever_is_sent(tmp_path_factory: pytest.TempPathFactory, parts: list[bytes]) -> None:
    async def visit() -> None:
        robot = Robot(tmp_path_factory.mktemp("page"))
        async with robot.visited() as visitor:
            port = int(str(robot.page.address).rpartition(":")[2].strip("/"))
            await send(port, b"".join(parts))
            assert (await visitor.get("/api/v1/status")).status_code == 200

    asyncio.run(visit())
