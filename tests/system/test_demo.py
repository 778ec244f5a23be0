"""`botyard demo`, as somebody starts it for the first time."""

import re
import signal
import sys
from pathlib import Path

import httpx
import psutil

from tests.processes import Running, free_port, wait_until

Places = dict[str, tuple[str, float, float]]


def test_demo_started_shows_five_moving_robots_and_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    ports = {"BOTYARD__WEB__PORT": str(free_port()), "BOTYARD__BROKER__PORT": str(free_port())}
    demo = Running([sys.executable, "-m", "botyard.cli.entry", "demo", "--no-browser"], tmp_path, "demo", ports)
    try:
        url = _address(demo)
        assert url.endswith(ports["BOTYARD__WEB__PORT"])
        with httpx.Client(base_url=f"{url}/api/v1") as api:
            before = wait_until(lambda: _places(api, 5), "five robots have a place")
            wait_until(lambda: _all_moved(before, _places(api, 5)), "all have moved")
            sites = api.get("/sites").json()["items"]
            assert [site["id"] for site in sites] == ["warehouse"]
            assert {frame for frame, _, _ in before.values()} == {"warehouse"}
        family = demo.family()
        assert any("nats-server" in " ".join(one.cmdline()) for one in family)
    finally:
        code = demo.stop(signal.SIGINT)
    assert code == 0, demo.output()
    assert not [one for one in psutil.wait_procs(family, timeout=3)[1] if one.status() != psutil.STATUS_ZOMBIE]
    assert "Traceback" not in demo.output()


def test_demo_ports_taken_takes_free_ones_and_says_which(tmp_path: Path) -> None:
    demos: list[Running] = []
    urls: list[str] = []
    try:
        for name in ("first", "second"):
            command = [sys.executable, "-m", "botyard.cli.entry", "demo", "--no-browser", "--robots", "1"]
            demos.append(Running(command, tmp_path, name))
            urls.append(_address(demos[-1]))
        assert urls[0] != urls[1]
    finally:
        codes = [demo.stop(signal.SIGINT) for demo in demos]
    assert codes == [0, 0]


def _address(demo: Running) -> str:
    found = wait_until(lambda: re.search(r"http://127\.0\.0\.1:\d+", demo.output()), "the address is printed")
    return str(found.group())


def _all_moved(before: Places, now: Places | None) -> bool:
    return now is not None and all(now[robot] != place for robot, place in before.items())


def _places(api: httpx.Client, count: int) -> Places | None:
    items = api.get("/robots").json()["items"]
    poses = {item["id"]: (item["status"]["state"] or {}).get("pose") for item in items}
    if len(poses) != count or None in poses.values():
        return None
    return {robot: (pose["frame"], pose["x"], pose["y"]) for robot, pose in poses.items() if pose}
