"""The dashboard in a real Chromium, with a real hub and real robots."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from tests.processes import ARTIFACTS, HubProcess, Running, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# Without these Chromium talks to its maker's hosts, which are not there in a test.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PLAN = Path(__file__).parents[2] / "plugins" / "botyard_plugins" / "simulation" / "warehouse.yaml"
ROBOTS = [f"picker-{number}" for number in range(1, 6)]
TEN_SECONDS = 10_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Shared by the tests, each of which opens pages in a context of its own. It may not outlive them: Playwright keeps
    an event loop running, beside which no asynchronous test can run."""
    with sync_playwright() as playwright:
        found = shutil.which("chromium") or "/usr/bin/chromium"
        chromium = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages that fail their test when they log an error or ask the internet for something."""
    wrong: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(hub: HubProcess, path: str, **context: Any) -> Page:
        contexts.append(browser.new_context(**context))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(f"{path}: {error}"))
        page.on(
            "request",
            lambda request: (
                None
                if re.match(rf"(http|ws)://127\.0\.0\.1:{hub.port}/|data:|blob:", request.url)
                else wrong.append(f"{path} asks for {request.url}")
            ),
        )
        page.goto(hub.url + path)
        return page

    yield opened
    for one in contexts:
        one.close()
    assert wrong == []


@pytest.fixture
def fleet(start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]) -> tuple[HubProcess, list[Running]]:
    """A hub with five robots, each a process of its own."""
    hub = start_hub({"fleet": {"sites": [str(PLAN)]}})
    edges = []
    for number, robot in enumerate(ROBOTS):
        options = {"seed": number, "geo": {"lat": 47.5596, "lon": 7.5886}}
        link = {"url": hub.broker_url, "heartbeat": 1.0, "reconnect_max": 1.0, "resend_after": 1.0}
        edges.append(start_edge({"robot": robot, "link": link, "drivers": {"sim": {"options": options}}}))
    return hub, edges


def picture(page: Page, name: str) -> None:
    folder = ARTIFACTS / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}.png")


def places(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.locator("by-robot-map").evaluate("map => map.robotPositions")
    return found


def points(page: Page) -> int:
    count: int = page.get_by_test_id("chart").first.evaluate("chart => chart.pointCount")
    return count


def test_fleet_page_shows_five_robots_that_move_and_one_that_is_killed_turns_offline(
    fleet: tuple[HubProcess, list[Running]], open_page: Callable[..., Page]
) -> None:
    hub, edges = fleet
    page = open_page(hub, "/")
    for robot in ROBOTS:
        expect(page.get_by_test_id(f"presence-{robot}")).to_have_attribute("data-presence", "online")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
    wait_until(lambda: len(places(page)) == 5, "all robots are on the map")
    before = places(page)
    wait_until(lambda: any(places(page)[robot] != before[robot] for robot in ROBOTS), "one moves on the map")
    picture(page, "fleet")

    edges[2].kill()
    killed = page.get_by_test_id("presence-picker-3")
    expect(killed).to_have_attribute("data-presence", "offline", timeout=TEN_SECONDS)
    expect(killed).to_contain_text("connection lost")
    picture(page, "fleet-one-offline")


def test_robot_page_chart_grows_and_the_open_page_survives_a_hub_restart(
    fleet: tuple[HubProcess, list[Running]], open_page: Callable[..., Page]
) -> None:
    hub, _ = fleet
    page = open_page(hub, "/")
    page.get_by_test_id("robot-row-picker-2").get_by_role("link").first.click()
    expect(page).to_have_url(re.compile(r"/robots/picker-2"))
    wait_until(lambda: page.get_by_test_id("chart").count() and points(page) > 0, "the chart has points")
    before = points(page)
    wait_until(lambda: points(page) > before, "the chart grows")
    picture(page, "robot")

    hub.stop()
    connection = page.get_by_test_id("connection")
    expect(connection).not_to_have_attribute("data-state", "live", timeout=TEN_SECONDS)
    picture(page, "robot-hub-away")
    hub.start()
    expect(connection).to_have_attribute("data-state", "live", timeout=3 * TEN_SECONDS)
    again = points(page)
    wait_until(lambda: points(page) > again, "the chart grows again")
    expect(page.get_by_test_id("presence-picker-2").first).to_have_attribute(
        "data-presence", "online", timeout=3 * TEN_SECONDS
    )


def test_charts_ask_for_what_fits_the_screen_zoom_by_dragging_and_come_back_to_live(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    start_edge({"robot": "picker-1", "link": {"url": hub.broker_url}, "drivers": {"sim": {}}})
    wait_until(lambda: hub.get("robots")["items"], "the robot is there")
    page = open_page(hub, "/robots/picker-1?chart=gripper.force", viewport={"width": 1440, "height": 900})
    wait_until(lambda: page.get_by_test_id("chart").count() and points(page) > 20, "the chart has points")

    with page.expect_request(lambda request: "/aggregate" in request.url) as asked:
        page.locator('[data-range="30d"]').click()
    width = float(re.findall(r"bucket=([\d.]+)", asked.value.url)[0])
    assert width % 3600 == 0, f"buckets of {width} s cannot come from rollups of an hour"
    page.locator('[data-range="5m"]').click()
    expect(page.get_by_test_id("live")).to_be_disabled()

    line = page.locator("by-line-chart .u-over").bounding_box()
    assert line is not None
    page.mouse.move(line["x"] + line["width"] * 0.9, line["y"] + 40)
    page.mouse.down()
    page.mouse.move(line["x"] + line["width"] * 0.999, line["y"] + 60, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    expect(page.get_by_text("Every sample")).to_be_visible()
    picture(page, "robot-zoomed")
    still = points(page)
    page.keyboard.press("Escape")  # nothing has the focus yet
    page.locator("by-line-chart .plot").focus()
    page.keyboard.press("ArrowLeft")
    earlier = page.get_by_test_id("shown").inner_text()
    page.get_by_role("button", name="Zoom out").click()
    expect(page.get_by_test_id("shown")).not_to_have_text(earlier)
    page.get_by_test_id("live").click()
    expect(page.get_by_test_id("shown")).to_have_text("The last 5 min")
    wait_until(lambda: points(page) > still, "it goes on")


def kept_by(folder: Path, outbox: str) -> int:
    """Bytes of a robot's outbox. Its file is locked by the robot, so that nobody can count what is in it."""
    return sum(file.stat().st_size for file in folder.glob(f"{outbox}*"))


def test_robot_page_of_a_robot_that_was_cut_off_counts_down_what_it_is_behind_and_tells_why_it_left(
    start_hub: Callable[..., HubProcess],
    start_edge: Callable[..., Running],
    open_page: Callable[..., Page],
    tmp_path: Path,
) -> None:
    hub = start_hub()
    hub.stop()
    robot = {
        "robot": "cut-off",
        "link": {"url": hub.broker_url, "backlog_rate": 40},
        "drivers": {"sim": {"options": {"seed": 3}}},
        "outbox": {"path": "cut-off.db", "group_interval": 0.2},
        "shutdown": {"flush_timeout": 0},
    }
    before_the_cut = start_edge({**robot, "telemetry": {"max_samples": 1}})
    wait_until(lambda: kept_by(tmp_path, "cut-off.db") > 700_000, "hundreds of messages wait at the robot")
    before_the_cut.stop()
    edge = start_edge(robot)  # with few new messages, so that even a slow machine gets ahead
    hub.start()

    page = open_page(hub, "/robots/cut-off")
    sync = page.get_by_test_id("sync-cut-off")
    expect(sync).to_have_text(re.compile(r"^\s*Syncing, [1-9][0-9,]* behind\s*$"), timeout=TEN_SECONDS)
    before = int(sync.get_attribute("data-behind") or 0)
    picture(page, "robot-syncing")
    fleet = open_page(hub, "/")
    expect(fleet.get_by_test_id("sync-cut-off")).to_contain_text(re.compile(r"syncing, [1-9][0-9,]* behind"))
    picture(fleet, "fleet-syncing")
    wait_until(lambda: int(sync.get_attribute("data-behind") or 0) < before, "the number falls")
    expect(sync).to_contain_text("Up to date", timeout=9 * TEN_SECONDS)
    expect(page.get_by_test_id("clock-cut-off")).to_contain_text("in step")

    edge.stop()
    presence = page.get_by_test_id("presence-detail-cut-off")
    expect(presence).to_contain_text("stopped on purpose", timeout=TEN_SECONDS)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "size"), [("desktop", (1440, 900)), ("phone", (360, 780))])
def test_every_page_fits_its_screen_in_both_schemes(
    device: str,
    size: tuple[int, int],
    scheme: str,
    start_hub: Callable[..., HubProcess],
    start_edge: Callable[..., Running],
    open_page: Callable[..., Page],
) -> None:
    hub = start_hub({"fleet": {"sites": [str(PLAN)]}})
    start_edge({"robot": "picker-1", "link": {"url": hub.broker_url}, "drivers": {"sim": {}}})
    wait_until(lambda: hub.get("robots")["items"], "the robot is there")
    viewport = {"width": size[0], "height": size[1]}
    for path in ("/", "/robots/picker-1", "/events", "/store", "/hub", "/no-such-page"):
        page = open_page(hub, path, viewport=viewport, color_scheme=scheme)
        expect(page.get_by_role("main")).to_be_visible()
        expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live")
        name = path.strip("/").replace("/", "-") or "fleet"
        picture(page, f"{name}-{device}-{scheme}")
        width: int = page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0], f"{path} is {width} px wide on a screen of {size[0]} px"
        page.context.close()


DAY = 86_400_000_000
GIB = 2**30


def store_report(now: int, days_left: float | None, history: int) -> dict[str, Any]:
    """What `GET /api/v1/store` answers, for a store of `history` days."""
    growth = None if days_left is None else GIB // 40
    nothing = {"keep_days": None, "keep_bytes": None}
    return {
        "engine": "postgresql",
        "address": "postgresql://botyard@db.example/botyard_with_a_rather_long_name",
        "bytes": GIB,
        "free_bytes": 60 * GIB if growth is None else int(growth * (days_left or 0)),
        "limit_bytes": None,
        "waiting": {"messages": 12_480, "bytes": 4_100_000},
        "classes": [
            {"name": "telemetry", "count": 182_400_000, "bytes": GIB - 5, "oldest": now - DAY, "newest": now}
            | {"keep_days": 30, "keep_bytes": 20 * GIB},
            {"name": "quarantine", "count": 1, "bytes": 5, "oldest": None, "newest": None} | nothing,
        ],
        "bytes_per_sample": None if growth is None else 4.6,
        "growth_bytes_per_day": growth,
        "history": [{"ts": now - day * DAY, "bytes": GIB - day * GIB // 40} for day in range(history, 0, -1)],
        "full_at": None if days_left is None else now + int(days_left * DAY),
    }


def answer_store(page: Page, report: dict[str, Any]) -> None:
    """Have the page get this report, whatever the hub knows."""
    page.route("**/api/v1/store", lambda route: route.fulfill(json=report))


@pytest.mark.parametrize("width", [1440, 360])
def test_store_page_warns_of_a_full_disk_and_says_when_it_is_too_early(
    width: int, start_hub: Callable[..., HubProcess], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    answers = [(3.5, 20), (20.5, 20), (None, 1)]
    for days_left, history in answers:
        page = open_page(hub, "/hub", viewport={"width": width, "height": 900})
        report = store_report(hub.get("hub")["now"], days_left, history)
        answer_store(page, report)
        page.get_by_role("link", name="Store", exact=True).click()
        expect(page.get_by_test_id("store-facts")).to_contain_text("1.0 GiB")
        expect(page.get_by_test_id("store-class-telemetry")).to_contain_text("30 days, at most 20 GiB")
        expect(page.get_by_test_id("store-class-quarantine")).to_contain_text("For ever")
        warning = page.get_by_test_id("store-warning")
        if days_left is None:
            expect(warning).to_have_count(0)
            expect(page.get_by_text("Too early to say: growth is known after an hour.")).to_be_visible()
        else:
            expect(warning).to_contain_text(f"The disk is full in {int(days_left)} d.")
            expect(warning).to_have_class(re.compile("tone-bad" if days_left < 7 else "tone-warn"))
            assert page.get_by_test_id("store-chart").evaluate("chart => chart.pointCount") == history
        wide: int = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"the page is {wide} px wide on a screen of {width} px"
        picture(page, f"store-{'early' if days_left is None else int(days_left)}-{width}")
        page.context.close()


def test_store_page_of_a_hub_shows_its_figures_or_says_that_there_are_none(
    start_hub: Callable[..., HubProcess], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    page = open_page(hub, "/store")
    told = hub.api.get("/api/v1/store").status_code == 200
    expect(page.get_by_test_id("store-facts" if told else "store-absent")).to_be_visible()
    expect(page.get_by_role("link", name="Store", exact=True)).to_have_attribute("aria-current", "page")


def test_fleet_page_without_robots_says_what_to_do_next(
    start_hub: Callable[..., HubProcess], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    page = open_page(hub, "/")
    expect(page.get_by_text("botyard-edge run robot.yaml").first).to_be_visible()
    picture(page, "fleet-empty")


def test_pending_robot_is_accepted_on_the_fleet_page(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], open_page: Callable[..., Page]
) -> None:
    hub = start_hub({"fleet": {"auto_accept": False}})
    link = {"url": hub.broker_url, "resend_after": 1.0}
    start_edge({"robot": "newcomer", "link": link, "drivers": {"sim": {}}})
    page = open_page(hub, "/")
    page.get_by_test_id("accept-newcomer").click()
    expect(page.get_by_test_id("presence-newcomer")).to_have_attribute(
        "data-presence", "online", timeout=3 * TEN_SECONDS
    )
    wait_until(lambda: hub.get("robots/newcomer/channels")["items"], "its telemetry is taken in")


def test_robot_that_is_retired_on_its_page_keeps_its_history_and_can_return(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    start_edge({"robot": "veteran", "link": {"url": hub.broker_url}, "drivers": {"sim": {}}})
    wait_until(lambda: hub.get("robots")["items"], "the robot is there")
    page = open_page(hub, "/robots/veteran?tab=settings")
    page.get_by_role("button", name="Retire …").click()
    page.get_by_role("button", name="Retire veteran").click()
    expect(page.get_by_test_id("retired-veteran")).to_be_visible(timeout=TEN_SECONDS)
    page.get_by_role("tab", name="Data").click()
    expect(page.get_by_test_id("channel-gripper.force")).to_be_visible()
    picture(page, "robot-retired")

    page.get_by_role("link", name="Hub").click()
    page.get_by_test_id("retired-row-veteran").get_by_role("link").click()
    page.get_by_role("button", name="Return to the fleet").click()
    expect(page.get_by_test_id("retired-veteran")).to_have_count(0, timeout=TEN_SECONDS)
    expect(page.get_by_test_id("presence-veteran")).to_have_attribute(
        "data-presence", "online", timeout=3 * TEN_SECONDS
    )


def test_stop_is_requested_on_the_robot_page_after_one_question_and_its_progress_is_shown(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    edge = start_edge({"robot": "picker-1", "link": {"url": hub.broker_url}, "drivers": {"sim": {}}})
    page = open_page(hub, "/robots/picker-1?tab=commands", viewport={"width": 1440, "height": 900})
    expect(page.get_by_text("Nothing was asked of this robot yet")).to_be_visible(timeout=3 * TEN_SECONDS)
    expect(page.get_by_test_id("presence-picker-1")).to_have_attribute(
        "data-presence", "online", timeout=3 * TEN_SECONDS
    )
    page.get_by_test_id("request-stop").click()
    expect(page.get_by_text(re.compile(r"Stop .* now\?"))).to_be_visible()
    page.get_by_role("button", name="No", exact=True).click()
    assert hub.get("robots/picker-1/commands")["items"] == []
    page.get_by_test_id("request-stop").click()
    page.get_by_test_id("confirm-stop").click()
    outcome = page.get_by_test_id("stop-outcome")
    expect(outcome.locator("[data-status=succeeded]")).to_be_visible(timeout=TEN_SECONDS)
    (asked,) = hub.get("robots/picker-1/commands")["items"]
    row = page.get_by_test_id(f"command-{asked['id']}")
    expect(row).to_contain_text("Done", timeout=TEN_SECONDS)
    expect(row).to_contain_text("by user:loopback")

    edge.stop()
    expect(page.get_by_test_id("presence-picker-1")).to_have_attribute("data-presence", "offline", timeout=TEN_SECONDS)
    page.get_by_test_id("request-stop").click()
    expect(page.get_by_text("is not connected")).to_be_visible()
    page.get_by_test_id("confirm-stop").click()
    expect(outcome).to_contain_text("Queued", timeout=TEN_SECONDS)
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(outcome).to_contain_text("cancelled by user:loopback before it was sent", timeout=TEN_SECONDS)
    picture(page, "robot-commands")
    assert page.get_by_role("button", name=re.compile("clear|release|reset", re.IGNORECASE)).count() == 0


def test_stop_whose_answer_was_lost_is_requested_anew_also_of_another_robot(
    start_hub: Callable[..., HubProcess], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    for robot in ("picker-1", "picker-2"):
        hub.api.post("/api/v1/robots", json={"id": robot}).raise_for_status()
    page = open_page(hub, "/robots/picker-1?tab=commands")
    outcome = page.get_by_test_id("stop-outcome")

    def loses(route: Route) -> None:
        route.fetch()
        route.abort()

    page.route("**/robots/picker-1/commands", loses, times=1)
    page.get_by_test_id("request-stop").click()
    page.get_by_test_id("confirm-stop").click()
    expect(outcome).to_contain_text("The stop was not requested", timeout=TEN_SECONDS)
    (lost,) = hub.get("robots/picker-1/commands")["items"]
    hub.api.post(f"/api/v1/robots/picker-1/commands/{lost['id']}/cancel").raise_for_status()
    page.evaluate("history.pushState(null, '', '/robots/picker-2'), dispatchEvent(new PopStateEvent('popstate'))")
    expect(page.get_by_role("heading", name="picker-2")).to_be_visible()
    expect(outcome).to_have_text("")
    for robot in ("picker-2", "picker-1"):
        page.evaluate(f"history.pushState(null, '', '/robots/{robot}'), dispatchEvent(new PopStateEvent('popstate'))")
        expect(page.get_by_role("heading", name=robot)).to_be_visible()
        page.get_by_test_id("request-stop").click()
        page.get_by_test_id("confirm-stop").click()
        expect(outcome).to_contain_text("Queued", timeout=TEN_SECONDS)
        assert hub.get(f"robots/{robot}/commands")["items"][0]["status"]["status"] == "queued"


def test_dashboard_reached_through_a_proxy_asks_for_the_token(
    start_hub: Callable[..., HubProcess], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    page = open_page(hub, "/", extra_http_headers={"X-Forwarded-For": "192.0.2.7"})
    box = page.get_by_label(re.compile("token", re.IGNORECASE))
    expect(box).to_be_visible()
    picture(page, "token")
    box.fill((hub.folder / "data" / "token").read_text().strip())
    box.press("Enter")
    expect(page.get_by_test_id("connection")).to_have_attribute("data-state", "live", timeout=TEN_SECONDS)


def test_api_page_works_without_the_internet(
    start_hub: Callable[..., HubProcess], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    page = open_page(hub, "/api/docs")
    expect(page.get_by_text("/api/v1/readings/aggregate").first).to_be_visible(timeout=TEN_SECONDS)
    picture(page, "api")


def test_robot_page_shows_calibration_with_versions_and_diff_and_rolls_it_back(
    start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], open_page: Callable[..., Page]
) -> None:
    hub = start_hub()
    link = {"url": hub.broker_url, "heartbeat": 1.0, "resend_after": 1.0}
    start_edge({"robot": "picker-1", "link": link, "drivers": {"sim": {"options": {"patrol": False}}}})
    page = open_page(hub, "/robots/picker-1?tab=calibration")
    expect(page.get_by_text("This robot was never calibrated")).to_be_visible(timeout=TEN_SECONDS)

    for scale in (1.5, 1.25):
        correction = {"kind": "linear", "channel": "gripper.force", "offset": -0.4, "scale": scale}
        drift = {"band": [-1.0, 20.0], "window": 10.0}
        profile = {"name": "gripper", "correction": correction, "method": "two weights", "raw": True, "drift": drift}
        asked = hub.api.post(
            "/api/v1/robots/picker-1/commands", json={"name": "calibration.set", "args": {"profile": profile}}
        )
        assert asked.status_code == 202, asked.text
    versions = page.get_by_test_id("versions-gripper").locator("tbody tr")
    expect(versions).to_have_count(2, timeout=TEN_SECONDS)
    expect(page.get_by_test_id("profile-gripper")).to_have_attribute("data-status", "applied")
    expect(page.get_by_test_id("diff-gripper")).to_contain_text("correction.scale")
    before = page.get_by_test_id("calibration-hash").inner_text()
    picture(page, "robot-calibration")

    page.get_by_test_id("rollback-gripper-1").click()
    page.get_by_test_id("confirm-rollback").click()
    expect(versions).to_have_count(3, timeout=TEN_SECONDS)
    expect(versions.first).to_contain_text("(as in 1)")
    expect(page.get_by_test_id("calibration-hash")).not_to_have_text(before)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("robot-limits", {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}),
        ("robot-limits-phone-dark", {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"}),
    ],
)
def test_robot_page_shows_the_limits_and_what_ails_a_node(
    name: str,
    context: dict[str, Any],
    start_hub: Callable[..., HubProcess],
    start_edge: Callable[..., Running],
    open_page: Callable[..., Page],
) -> None:
    hub = start_hub()
    safety = {
        "limits": {"max_speed": "1.2 m/s", "max_angular_speed": "90 deg/s", "min_battery": "5 %"},
        "geofence": {"polygons_m": [[[-100, -100], [200, -100], [200, 200], [-100, 200]]]},
    }
    drivers = {"sim": {}, "log": {"type": "replay", "options": {"file": "there-is-no-such-file.csv"}}}
    start_edge({"robot": "picker-1", "link": {"url": hub.broker_url}, "drivers": drivers, "safety": safety})
    page = open_page(hub, "/robots/picker-1?tab=state", **context)
    limits = page.get_by_test_id("limits")
    expect(limits).to_contain_text("1.2 m/s", timeout=TEN_SECONDS)
    expect(limits).to_contain_text("90°/s")
    expect(limits).to_contain_text("1 area")
    nodes = page.locator("table", has_text="driver.log")
    expect(nodes.locator("tbody tr").first).to_contain_text("Its settings cannot work: ")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    picture(page, name)
