"""The dashboard's files, health, readiness, and everything that is not there."""

from pathlib import Path

import pytest

from botyard.testing import running_hub
from tests.hub.support import make_flaky, problem


@pytest.fixture
def static(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dashboard that is built, as far as the hub can tell."""
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<p>the dashboard")
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "assets" / "app-1a2b.js").write_text("1")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr("botyard.web.pages.STATIC", folder)
    return folder


async def test_dashboard_is_served_for_each_of_its_pages(tmp_path: Path, static: Path) -> None:
    async with running_hub(tmp_path) as running:
        for path in ("/", "/robots/picker-7", "/events", "/no/such/page"):
            answer = await running.api.get(path)
            assert (answer.status_code, answer.text) == (200, "<p>the dashboard")
            assert answer.headers["Cache-Control"] == "no-cache"
            assert answer.headers["Content-Type"].startswith("text/html")
            assert "script-src" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self';")
            assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_dashboard_files_with_a_hash_in_their_name_may_be_kept(tmp_path: Path, static: Path) -> None:
    async with running_hub(tmp_path) as running:
        asset = await running.api.get("/assets/app-1a2b.js")
        assert "immutable" in asset.headers["Cache-Control"]
        assert "javascript" in asset.headers["Content-Type"]
        icon = await running.api.get("/favicon.svg")
        assert icon.headers["Cache-Control"] == "no-cache"
        assert icon.headers["Content-Type"].startswith("image/svg+xml")


NOT_THERE = [
    "/assets/gone.js",
    "/gone.css",
    "/../secret.txt",
    "/%2e%2e/secret.txt",
    "/..%2fsecret.txt",
    "/assets/..%2f..%2fsecret.txt",
    "//etc/hosts.txt",
    "/%00.txt",
    "/" + "x" * 400 + ".txt",
    "/api",
    "/api/",
    "/api/v1",
    "/api/v1/nothing",
    "/api/v2/robots",
]


async def test_path_that_is_not_there_is_a_problem(tmp_path: Path, static: Path) -> None:
    async with running_hub(tmp_path) as running:
        for path in NOT_THERE:
            answer = await running.api.get(path, follow_redirects=True)
            assert answer.status_code == 404, path
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json()["detail"]


async def test_path_outside_of_the_dashboard_says_nothing_about_files_there(tmp_path: Path, static: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    async with running_hub(tmp_path) as running:
        there = await running.api.get("/..%2fsecret")
        not_there = await running.api.get("/..%2fnothing")
        assert (there.status_code, there.text) == (not_there.status_code, not_there.text)
        assert "secret" not in there.text


async def test_path_that_is_longer_than_a_file_name_may_be_is_a_page(tmp_path: Path, static: Path) -> None:
    async with running_hub(tmp_path) as running:
        assert (await running.api.get("/" + "x" * 400)).text == "<p>the dashboard"


async def test_dashboard_that_is_not_built_is_said_and_the_api_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard.web.pages.STATIC", tmp_path / "nothing")
    async with running_hub(tmp_path) as running:
        answer = await running.api.get("/")
        assert answer.status_code == 503
        assert "make setup" in answer.text
        assert (await running.api.get("/api/v1/hub")).status_code == 200


async def test_api_page_refers_to_nothing_on_the_internet(tmp_path: Path) -> None:
    async with running_hub(tmp_path) as running:
        page = await running.api.get("/api/docs")
        script = await running.api.get("/api/docs/start.js")
        assert page.status_code == script.status_code == 200
        assert "http" not in page.text
        assert "http" not in script.text
        assert "/api/v1/openapi.json" in script.text


async def test_health_is_the_process_and_readiness_is_broker_and_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flaky = make_flaky(monkeypatch)
    async with running_hub(tmp_path) as running:
        assert (await running.api.get("/readyz")).text == "ready\n"
        running.transport.disconnect("it is gone")
        document = await problem(running, "GET", "/readyz")
        assert (document["status"], document["detail"]) == (503, "memory is not connected: it is gone")
        assert (await running.api.get("/healthz")).text == "ok\n"
        running.transport.connect()
        assert (await running.api.get("/readyz")).status_code == 200

        async def fails() -> None:
            flaky().broken = True
            flaky()._check()

        monkeypatch.setattr(flaky(), "ping", fails, raising=False)
        document = await problem(running, "GET", "/readyz")
        assert (document["status"], document["detail"]) == (
            503,
            "the store cannot answer now: the disk is full, on purpose",
        )
        flaky().broken = False


async def test_mistake_of_the_hub_is_a_problem_without_its_details(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_hub(tmp_path) as running:
        monkeypatch.setattr(running.hub.fleet, "all", lambda **_: 1 / 0)
        document = await problem(running, "GET", "/api/v1/robots")
        assert (document["status"], document["detail"]) == (500, "the hub made a mistake; its log says more")
    assert "GET /api/v1/robots failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text
