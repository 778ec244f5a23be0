"""The local face of a real robot that has no hub at all: the command, the HTTP API, and the page in a real Chromium."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.processes import ARTIFACTS, ROOT, Running, free_port, wait_until

Start = Callable[..., Running]
SAFETY = {
    "limits": {"max_speed": "1.2 m/s", "min_battery": "1 %"},
    "geofence": {"polygons_m": [[[-100, -100], [200, -100], [200, 200], [-100, 200]]]},
}


def robot(name: str, port: int, **more: Any) -> dict[str, Any]:
    drivers = {"base": {"type": "sim", "options": {"seed": 1}}, "gps": {"type": "serial", "options": NOTHING}}
    return {
        "robot": name,
        "about": {"name": "Picker 7"},
        "link": {"url": "mqtt://127.0.0.1:1"},  # nobody listens there
        "drivers": drivers,
        "safety": SAFETY,
        "local": {"port": port},
        "shutdown": {"flush_timeout": 0.1},
        **more,
    }


NOTHING = {"port": "/dev/there-is-no-such-port", "protocol": "nmea"}


def at_the_robot(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "botyard_edge.cli", *arguments]
    environment = {"PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def status(folder: Path, name: str) -> dict[str, Any]:
    done = at_the_robot(folder, "status", f"{name}.yaml", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def is_up(folder: Path, name: str) -> bool:
    done = at_the_robot(folder, "status", f"{name}.yaml", "--json")
    return done.returncode == 0 and json.loads(done.stdout)["nodes"].get("driver.base", {}).get("status") == "running"


def test_status_without_a_running_robot_is_one_sentence_and_a_failure(tmp_path: Path) -> None:
    (tmp_path / "picker-7.yaml").write_text(json.dumps(robot("picker-7", free_port())))
    done = at_the_robot(tmp_path, "status", "picker-7.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"no edge answers at .*: start it with `botyard-edge run`\n", done.stderr)


def test_robot_without_a_hub_is_seen_stopped_and_cleared_at_the_robot(start_edge: Start, tmp_path: Path) -> None:
    port = free_port()
    start_edge(robot("picker-7", port))
    wait_until(lambda: is_up(tmp_path, "picker-7"), "the robot runs")
    seen = status(tmp_path, "picker-7")
    assert (seen["mode"], seen["link"]["to"]) == ("auto", None)
    assert seen["limits"]["max_speed"] == {"value": 1.2, "unit": "m/s", "on_violation": "clamp"}
    assert seen["health"] == "warning"
    assert wait_until(lambda: status(tmp_path, "picker-7")["link"]["backlog"], "messages wait") > 0

    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers={"X-Botyard": "local"}, trust_env=False) as page:
        stopped = page.post("/api/v1/estop", json={"robot": "picker-7", "who": "Kim", "reason": "a child"}).json()
        assert (stopped["mode"], stopped["causes"][0]["active"]) == ("estop", False)
        wish = {"robot": "picker-7", "who": "Kim", "reason": "the child has left"}
        assert page.post("/api/v1/estop/clear", json=wish).status_code == 401
        assert status(tmp_path, "picker-7")["mode"] == "estop"
        key = str(seen["page"]).partition("#key=")[2]
        cleared = page.post("/api/v1/estop/clear", json=wish, headers={"Authorization": f"Bearer {key}"})
        assert cleared.json()["mode"] == "auto"

    # Somebody is in the middle of changing the settings: the robot that runs can be stopped all the same.
    (tmp_path / "picker-7.yaml").write_text("robot: picker-7\ndrivers: {base: {type: nonsense}}\nsafty: {}\n")
    done = at_the_robot(tmp_path, "estop", "set", "picker-7.yaml", "--reason", "smoke")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "mode: estop"), done.stderr
    shown = at_the_robot(tmp_path, "status", "picker-7.yaml", COLUMNS="80")
    assert "pressed the emergency stop at the robot: smoke" in " ".join(shown.stdout.split())
    assert "\x1b" not in shown.stdout, "no colour where nobody sees it"


def test_two_robots_on_one_machine_have_a_page_each(start_edge: Start, tmp_path: Path) -> None:
    port = free_port()
    names = ("picker-7", "picker-8")
    for name in names:
        start_edge(robot(name, port))
    for name in names:
        wait_until(lambda name=name: is_up(tmp_path, name), f"{name} runs")  # type: ignore[misc]
    pages = {name: str(status(tmp_path, name)["page"]) for name in names}
    assert len(set(pages.values())) == 2
    for name, page in pages.items():
        address = page.partition("#")[0]
        assert httpx.get(f"{address}api/v1/status", trust_env=False).json()["robot"] == name


def picture(page: Page, name: str) -> None:
    folder = ARTIFACTS / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


@pytest.mark.browser
@pytest.mark.timeout(240)
def test_page_shows_the_robot_stops_it_and_clears_it_with_reason_and_confirmation(
    start_edge: Start, tmp_path: Path
) -> None:
    port = free_port()
    edge = start_edge(robot("picker-7", port))
    wait_until(lambda: is_up(tmp_path, "picker-7"), "the robot runs")
    with_key = str(status(tmp_path, "picker-7")["page"])
    wrong: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium") or "/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(viewport={"width": 1100, "height": 800}, color_scheme="light").new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(with_key)
        expect(page.locator("#live")).to_have_text("Live")
        assert "key" not in page.url
        expect(page.locator("#mode")).to_have_text("Auto")
        expect(page.locator("#nodes")).to_contain_text("driver.base")
        expect(page.locator("#limits")).to_contain_text("1.2 m/s")
        expect(page.locator("#hub")).to_contain_text("none")
        picture(page, "local-light")

        # A phone, whose user has no key, sees the stop by itself.
        phone = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark").new_page()
        phone.goto(with_key.partition("#")[0])
        expect(phone.locator("#mode")).to_have_text("Auto")
        page.get_by_role("button", name="STOP").click()
        expect(page.locator("#mode")).to_have_text("Emergency stop")
        expect(phone.locator("#mode")).to_have_text("Emergency stop")
        expect(phone.locator("#causes")).to_contain_text("waits to be cleared")
        picture(phone, "local-phone-dark")
        assert phone.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
        phone.fill("#reason", "why not")
        phone.get_by_role("button", name="Clear …").click()
        expect(phone.locator("#wrong")).to_contain_text("needs the key")
        phone.fill("#key", "wrong")
        phone.get_by_role("button", name="Clear …").click()
        phone.get_by_role("button", name="Yes, clear").click()
        expect(phone.locator("#wrong")).to_contain_text("It was not cleared: clearing needs the key")

        page.fill("#who", "Kim")
        page.get_by_role("button", name="Clear …").click()
        expect(page.locator("#wrong")).to_contain_text("Say why")
        page.fill("#reason", "everybody is out")
        page.get_by_role("button", name="Clear …").click()
        picture(page, "local-confirm")
        page.get_by_role("button", name="No").click()
        assert status(tmp_path, "picker-7")["mode"] == "estop"
        page.get_by_role("button", name="Clear …").click()
        page.get_by_role("button", name="Yes, clear").click()
        expect(page.locator("#mode")).to_have_text("Auto")
        expect(phone.locator("#mode")).to_have_text("Auto")

        assert [line for line in wrong if "401" not in line] == []
        edge.kill()
        expect(page.locator("#live")).to_have_text("The robot's software does not answer")
        page.get_by_role("button", name="STOP").click()
        expect(page.locator("#wrong")).to_contain_text("It was NOT stopped")
        browser.close()
