"""`botyard bench`, as a user starts it."""

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.processes import HubProcess, Running, wait_until

COMMAND = [sys.executable, "-m", "botyard.cli.entry", "bench"]


def start(folder: Path, *arguments: str) -> Running:
    """What it leaves behind when it is killed goes with the test's folder."""
    return Running([*COMMAND, *arguments], folder, "bench", {"TMPDIR": str(folder)})


def run(folder: Path, *arguments: str, code: int = 0) -> tuple[Any, Running]:
    bench = start(folder, *arguments, "--json", "result.json")
    assert bench.process.wait(60) == code, bench.output()
    file = folder / "result.json"
    return json.loads(file.read_text()) if file.exists() else None, bench


def test_bench_short_run_measures_everything_and_loses_nothing(tmp_path: Path) -> None:
    result, bench = run(tmp_path, "--robots", "6", "--rate", "20", "--sets-per-message", "2", "--outage", "5",
                        "--seconds", "2", "--state-every", "1")  # fmt: skip
    checked, through = result["verified"], result["throughput"]
    assert checked["unacknowledged"] == 0
    assert checked["wrong"] == []
    assert checked["samples"] == checked["samples_stored"] > 6 * 100 * 2 * 4 * 0.9
    assert checked["series"] == 6 * 4
    assert 80 < through["messages_per_s"] < 160
    assert through["samples_per_s"] / through["messages_per_s"] > 7
    assert result["outage"]["messages"] == 6 * 100
    assert result["outage"]["times_real_time"] > 1
    for way in ("committed", "browser"):
        found = result["latency"][way]
        assert found["count"] > 30
        assert 0 < found["p50"] <= found["p95"] <= found["p99"] <= found["max"]
    assert {"hub", "broker", "generator", "bench"} < set(result["cost"])
    assert result["cost"]["hub"]["cpu_s_per_10k"] > 0
    assert result["cost"]["generator"]["rss_mib"] > 5
    assert result["disk"]["bytes_per_sample"] > 0
    assert "✓ all" in bench.output()
    assert "Traceback" not in bench.output()


def test_bench_as_fast_as_possible_at_qos_1_over_few_connections_loses_nothing(tmp_path: Path) -> None:
    result, _ = run(tmp_path, "--robots", "12", "--connections", "2", "--generators", "2", "--speed", "max",
                    "--qos", "1", "--seconds", "1")  # fmt: skip
    assert result["verified"]["samples"] == result["verified"]["samples_stored"] > 1000
    assert result["verified"]["unacknowledged"] == 0


def test_bench_broker_killed_meanwhile_sends_again_and_loses_nothing(tmp_path: Path) -> None:
    bench = start(tmp_path, "--robots", "4", "--rate", "20", "--seconds", "6", "--json", "result.json")
    wait_until(lambda: "Measuring" in bench.output(), "it measures")
    next(one for one in bench.family() if "nats-server" in " ".join(one.cmdline())).kill()
    assert bench.process.wait(60) == 0, bench.output()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["reconnects"] >= 4
    assert result["verified"]["samples"] == result["verified"]["samples_stored"] > 4 * 100 * 4
    assert result["verified"]["unacknowledged"] == 0


def test_bench_ctrl_c_ends_everything(tmp_path: Path) -> None:
    bench = start(tmp_path, "--robots", "3", "--seconds", "60")
    wait_until(lambda: "Measuring" in bench.output(), "it measures")
    family = bench.family()
    assert len(family) >= 5, "itself, hub, broker, writer, generator"
    assert bench.stop(signal.SIGINT) == 130, bench.output()
    assert not [one for one in psutil.wait_procs(family, timeout=3)[1] if one.status() != psutil.STATUS_ZOMBIE]
    assert "ended before it was done" in bench.output()
    assert "Traceback" not in bench.output()
    assert not list(tmp_path.glob("botyard-bench-*")), "its data are gone, too"


def test_bench_killed_leaves_no_process(tmp_path: Path) -> None:
    bench = start(tmp_path, "--robots", "3", "--seconds", "60")
    wait_until(lambda: "Measuring" in bench.output(), "it measures")
    family = bench.family()
    bench.kill()
    assert not [one for one in psutil.wait_procs(family, timeout=10)[1] if one.status() != psutil.STATUS_ZOMBIE]


def test_bench_against_a_running_hub_leaves_no_robot_behind(
    tmp_path: Path, start_hub: Callable[..., HubProcess]
) -> None:
    hub = start_hub()
    address = ("--url", hub.url, "--broker", hub.broker_url)
    result, _ = run(tmp_path, *address, "--robots", "2", "--seconds", "1", "--prefix", "guest")
    assert result["verified"]["samples"] == result["verified"]["samples_stored"] > 0
    assert set(result["cost"]) == {"generator", "bench"}, "what it did not start it cannot see"
    assert hub.get("robots")["items"] == []
    run(tmp_path, *address, "--robots", "2", "--seconds", "1", "--prefix", "guest", "--keep")
    assert [robot["id"] for robot in hub.get("robots")["items"]] == ["guest-0", "guest-1"]


def test_bench_hub_that_does_not_answer_gives_one_sentence(tmp_path: Path) -> None:
    nobody = ("--url", "http://127.0.0.1:1", "--broker", "mqtt://127.0.0.1:1")
    result, bench = run(tmp_path, *nobody, code=1)
    assert result is None
    assert "the hub at http://127.0.0.1:1 is not ready" in bench.output()
    assert "Traceback" not in bench.output()
