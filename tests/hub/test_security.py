"""Who may use the API: this machine, whoever shows the token, and no foreign web page."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from botyard.testing import RunningHub, running_hub
from tests.hub.support import get

HUB = "/api/v1/hub"
FORWARDED = {"X-Forwarded-For": "203.0.113.7"}


def token_of(folder: Path) -> str:
    return (folder / "data" / "token").read_text().strip()


async def status(running: RunningHub, method: str = "GET", path: str = HUB, **options: Any) -> int:
    return (await running.api.request(method, path, **options)).status_code


async def test_token_is_made_once_for_its_owner_and_told_at_the_first_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        async with running_hub(tmp_path):
            token = token_of(tmp_path)
            assert len(token) >= 32
            assert (tmp_path / "data" / "token").stat().st_mode & 0o777 == 0o600
        assert caplog.text.count(token) == 1
        caplog.clear()
        async with running_hub(tmp_path):
            assert token_of(tmp_path) == token
        assert token not in caplog.text


async def test_token_file_that_is_there_and_empty_is_filled_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "token").touch(mode=0o644)
    async with running_hub(tmp_path):
        assert len(token_of(tmp_path)) >= 32
        assert (tmp_path / "data" / "token").stat().st_mode & 0o777 == 0o600


async def test_this_machine_needs_the_token_too_when_loopback_is_not_trusted(tmp_path: Path) -> None:
    async with running_hub(tmp_path, web={"trust_loopback": False}) as running:
        answer = await running.api.get(HUB)
        assert (answer.status_code, answer.json()["detail"]) == (
            401,
            "an access token is needed, also on the hub's machine; `botyard token` shows it there",
        )
        bearer = {"Authorization": f"Bearer {token_of(tmp_path)}"}
        assert await status(running, headers=bearer) == 200
        envelope = {"v": 1, "robot": "r", "body": {"groups": []}}
        assert await status(running, "POST", "/api/v1/telemetry", json=envelope) == 401
        assert (await refused_socket(running))[0] == 401
        await running.robot("mqtt").telemetry({"x": 1.0})  # robots on the broker are the broker's affair
        await running.transport.committed()
        assert len((await running.api.get("/api/v1/robots", headers=bearer)).json()["items"]) == 1


async def test_this_machine_needs_no_token(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        assert await status(running) == 200


@pytest.mark.parametrize(
    "headers",
    [FORWARDED, {"Forwarded": "for=203.0.113.7"}, {"X-Real-IP": "203.0.113.7"}, {"Via": "1.1 proxy"}],
    ids=str,
)
async def test_request_through_a_proxy_needs_the_token(tmp_path: Path, headers: dict[str, str]) -> None:
    async with running_hub(tmp_path) as running:
        answer = await running.api.get(HUB, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["detail"] == (
            "an access token is needed from another machine; `botyard token` shows it on the hub's machine"
        )
        bearer = {"Authorization": f"Bearer {token_of(tmp_path)}"}
        assert await status(running, headers={**headers, **bearer}) == 200


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
@pytest.mark.parametrize("token", ["wrong", "ünïcode", "x" * 1000])
async def test_request_with_a_wrong_token_is_refused_even_from_this_machine(
    tmp_path: Path, scheme: str, token: str
) -> None:
    async with running_hub(tmp_path) as running:
        answer = await running.api.get(HUB, headers=[(b"Authorization", f"{scheme} {token}".encode())])
        assert answer.status_code == 401
        assert answer.json()["detail"].startswith("the access token is wrong")


async def test_request_refused_by_the_gate_changes_nothing(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        for method, path, body in (("POST", "robots", {"id": "r"}), ("POST", "telemetry", {"v": 1, "robot": "r"})):
            assert await status(running, method, f"/api/v1/{path}", json=body, headers=FORWARDED) == 401
        assert (await get(running, "robots"))["items"] == []


async def test_pages_and_health_are_for_everybody_and_the_api_description_is_not(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        for path in ("/healthz", "/readyz", "/api"):
            assert await status(running, path=path, headers=FORWARDED) in (200, 404)
        for path in ("/api/v1/openapi.json", "/api/v1/robots", "/api/v1/nothing"):
            assert await status(running, path=path, headers=FORWARDED) == 401


async def test_session_cookie_lets_a_browser_in(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        refused = await running.api.post("/api/v1/session", json={"token": "wrong"}, headers=FORWARDED)
        assert (refused.status_code, refused.json()["field"]) == (401, "token")
        assert "Set-Cookie" not in refused.headers
        answer = await running.api.post("/api/v1/session", json={"token": token_of(tmp_path)}, headers=FORWARDED)
        assert answer.status_code == 204
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert await status(running, headers=FORWARDED) == 200  # the client keeps the cookie
        running.api.cookies.clear()
        assert await status(running, headers=FORWARDED) == 401


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"token": 7}', b'{"token": "x", "more": 1}'])
async def test_session_with_a_bad_body_is_a_problem(tmp_path: Path, body: bytes) -> None:
    async with running_hub(tmp_path) as running:
        answer = await running.api.post("/api/v1/session", content=body)
        assert answer.status_code == 400


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", 200),
        ("LOCALHOST:1234", 200),
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("10.1.2.3", 200),
        ("fleet.example.org", 200),
        ("Fleet.Example.Org.:443", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("fleet.example.org.evil.example", 421),
        ("[::1", 421),
        ("", 421),
        ("a b", 421),
    ],
)
async def test_request_to_a_foreign_host_name_is_refused(tmp_path: Path, host: str, expected: int) -> None:
    async with running_hub(tmp_path, web={"allowed_hosts": ["fleet.example.org"]}) as running:
        answer = await running.api.get(HUB, headers={"Host": host})
        assert answer.status_code == expected
        if expected == 421:
            assert "web.allowed_hosts" in answer.json()["detail"]


async def test_request_without_a_host_is_refused_and_the_hub_goes_on(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        url = httpx.URL(running.hub.web_url or "")
        reader, writer = await asyncio.open_connection(url.host, url.port)
        writer.write(b"GET /api/v1/hub HTTP/1.0\r\n\r\n")
        first = await reader.readline()
        assert first.split()[1] in (b"400", b"421")
        writer.close()
        await writer.wait_closed()
        assert await status(running) == 200


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, 201),
        ("http://localhost", 201),
        ("https://localhost", 201),
        ("http://evil.example", 403),
        ("http://localhost:81", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("http://[", 403),
    ],
)
async def test_request_of_a_foreign_page_changes_nothing(tmp_path: Path, origin: str | None, expected: int) -> None:
    async with running_hub(tmp_path) as running:
        headers = {"Host": "localhost", **({"Origin": origin} if origin else {})}
        answer = await running.api.post("/api/v1/robots", json={"id": "r"}, headers=headers)
        assert answer.status_code == expected
        assert len((await get(running, "robots"))["items"]) == (expected == 201)
        assert await status(running, headers=headers) == 200  # reading is harmless: the page cannot see it


async def refused_socket(running: RunningHub, **headers: str) -> tuple[int, str]:
    url = (running.hub.web_url or "").replace("http", "ws", 1) + "/api/v1/ws"
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url, additional_headers=headers):
            pass
    return refused.value.response.status_code, refused.value.response.body.decode()


async def test_websocket_needs_what_a_request_needs(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        url = (running.hub.web_url or "").replace("http", "ws", 1) + "/api/v1/ws"
        status, body = await refused_socket(running, **FORWARDED)
        assert (status, "an access token is needed" in body) == (401, True)
        assert (await refused_socket(running, Authorization="Bearer wrong"))[0] == 401
        assert (await refused_socket(running, Origin="http://evil.example"))[0] == 403
        for headers in (
            {**FORWARDED, "Authorization": f"Bearer {token_of(tmp_path)}"},
            {**FORWARDED, "Cookie": f"botyard_token={token_of(tmp_path)}"},
            {"Origin": running.hub.web_url or ""},
        ):
            async with connect(url, additional_headers=headers) as socket:
                assert "snapshot" in str(await socket.recv())


async def test_websocket_to_a_foreign_host_name_is_refused(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        url = httpx.URL(running.hub.web_url or "")
        with pytest.raises(InvalidStatus) as refused:
            async with connect("ws://evil.example/api/v1/ws", host=url.host, port=url.port):
                pass
        assert refused.value.response.status_code == 421
