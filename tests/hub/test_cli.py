"""The `botyard` command, as a process."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from botyard.testing import RunningHub
from botyard_schemas import __version__
from tests.hub.support import hub_in_a_thread
from tests.processes import HubProcess, wait_until


def botyard(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "botyard.cli.entry", *arguments],
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def alive(family: list[psutil.Process]) -> list[psutil.Process]:
    """Those that still run; one that only waits for its parent to take notice has ended."""
    found = []
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


async def fill(running: RunningHub) -> None:
    await running.robot("picker-7").state(
        about={"name": "Picker 7", "type": "amr"},
        battery={"level": 0.93},
        pose={"frame": "hall", "x": 1, "y": 2, "yaw": 0},
    )
    await running.robot("drone").state(geo={"lat": 47.4, "lon": 8.5})
    await running.transport.committed()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with hub_in_a_thread(tmp_path_factory.mktemp("hub"), fill) as address:
        yield address


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    """A hub that is started and not waited for."""
    running = HubProcess(tmp_path, ready=False)
    yield running
    running.api.close()
    if running.process.poll() is None:
        running.kill()


def test_version_is_said() -> None:
    done = botyard("version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"botyard {__version__}\n", "")


def test_help_lists_the_commands() -> None:
    done = botyard("--help")
    assert done.returncode == 0
    for command in ("hub", "version", "robots", "config", "token"):
        assert command in done.stdout


def test_config_check_of_a_good_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("web:\n  port: 9000\n")
    done = botyard("config", "check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "configuration is fine" in done.stdout
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]  # it starts nothing


@pytest.mark.parametrize(
    ("text", "environment", "sentence"),
    [
        ("web:\n  port: x\n", {}, 'config.yaml:2: web.port: "x" is not of type "integer"'),
        ("{", {}, "config.yaml:1: not YAML: "),
        ("plugins: [acme_gone]\n", {}, "plugin 'acme_gone': there is no such module; is its package installed?"),
        ("fleet: {sites: [gone.yaml]}\n", {}, "config.yaml:1: fleet.sites[0]: there is no file 'gone.yaml'"),
        ("store: {url: 'oracle://x'}\n", {}, "config.yaml:1: store.url: 'oracle://x' names no store that is known"),
        (
            "",
            {"BOTYARD__STORE__URL": "postgres://u:secret@h"},
            "environment variable BOTYARD__STORE__URL: store.url: 'postgres://u:***@h' names no database; expected",
        ),
        ("", {"BOTYARD__WEB__PORT": "x"}, 'environment variable BOTYARD__WEB__PORT: web.port: "x" is not of type'),
    ],
)
def test_config_check_of_a_bad_file_says_what_is_wrong_in_one_line(
    tmp_path: Path, text: str, environment: dict[str, str], sentence: str
) -> None:
    (tmp_path / "config.yaml").write_text(text)
    done = botyard("config", "check", cwd=tmp_path, **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"✗ {sentence}")


def test_config_check_of_a_site_plan_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("fleet: {sites: [hall.yaml]}\n")
    (tmp_path / "hall.yaml").write_text("id: hall\nname: Hall\nwidth: -1\nheight: 2\n")
    done = botyard("config", "check", cwd=tmp_path)
    assert done.returncode == 2
    assert "hall.yaml:3: width: -1 " in done.stderr


def test_robots_are_listed_as_a_table_and_as_json(url: str) -> None:
    table = botyard("robots", "list", "--url", url)
    assert table.returncode == 0, table.stderr
    lines = [line.split() for line in table.stdout.splitlines() if line.strip()]
    assert lines[0][:2] == ["Robot", "Name"]
    assert [line[0] for line in lines[1:]] == ["drone", "picker-7"]
    assert "online" in table.stdout
    assert "93%" in table.stdout
    assert "hall 1.0, 2.0" in table.stdout
    assert "47.40000, 8.50000" in table.stdout
    found = json.loads(botyard("robots", "list", "--json", BOTYARD_URL=url).stdout)
    assert [robot["id"] for robot in found] == ["drone", "picker-7"]


def test_robot_is_shown_as_the_api_says(url: str) -> None:
    done = botyard("robots", "show", "picker-7", "--url", url)
    shown = json.loads(done.stdout)
    assert shown["spec"] == httpx.get(f"{url}/api/v1/robots/picker-7").json()["spec"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["show", "nobody"], "the hub refuses: there is no robot 'nobody'"),
        (["list", "--token", "wrong"], "the hub refuses: the access token is wrong"),
        (["watch", "--token", "wrong"], "the hub refuses: the access token is wrong"),
    ],
)
def test_robots_command_that_is_refused_says_why_in_one_line(url: str, arguments: list[str], sentence: str) -> None:
    done = botyard("robots", *arguments, "--url", url)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"✗ {sentence}")


@pytest.mark.parametrize("command", [["list"], ["show", "r"], ["watch"]])
def test_robots_command_without_a_hub_says_so_in_one_line(command: list[str]) -> None:
    done = botyard("robots", *command, "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "http://127.0.0.1:9" in line


def test_robots_watch_shows_robots_live_until_it_is_interrupted(url: str, tmp_path: Path) -> None:
    log = tmp_path / "watch.log"
    with log.open("wb") as stream:
        command = [sys.executable, "-m", "botyard.cli.entry", "robots", "watch", "--url", url]
        environment = {**os.environ, "COLUMNS": "200", "FORCE_COLOR": "1"}  # a table that renews itself
        watching = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
    try:
        wait_until(lambda: "picker-7" in log.read_text(), "the robot is shown")
        httpx.patch(f"{url}/api/v1/robots/picker-7", json={"name": "Otto"})
        wait_until(lambda: "Otto" in log.read_text(), "its new name is shown")
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
    finally:
        watching.kill()
        watching.wait()
    assert "Traceback" not in log.read_text()


ODD = ["AGV [/7]", "[red]x[/red]", "[bold", "tab\tand\x1b[31mred\x1b[0m", "Müller"]


async def fill_odd(running: RunningHub) -> None:
    for n, name in enumerate(ODD):
        await running.robot(f"r{n}").state(about={"name": name, "type": f"[/{n}]"})
    await running.transport.committed()
    for n, name in enumerate(ODD):
        changed = await running.api.patch(f"/api/v1/robots/r{n}", json={"name": name, "group": "[/g]"})
        assert changed.status_code == 200


def test_robots_with_names_that_look_like_markup_or_steer_terminals_are_shown_as_text(tmp_path: Path) -> None:
    with hub_in_a_thread(tmp_path, fill_odd) as url:
        done = botyard("robots", "list", "--url", url)
        log = tmp_path / "watch.log"
        with log.open("wb") as stream:
            command = [sys.executable, "-m", "botyard.cli.entry", "robots", "watch", "--url", url]
            environment = {**os.environ, "COLUMNS": "200", "FORCE_COLOR": "1"}
            watching = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment)
        try:
            wait_until(lambda: "AGV [/7]" in log.read_text(), "the robot is shown")
        finally:
            watching.kill()
            watching.wait()
    assert done.returncode == 0, done.stderr
    for name in ("AGV [/7]", "[red]x[/red]", "[bold", "tab\ufffdand\ufffd[31mred\ufffd[0m", "Müller", "[/g]"):
        assert name in done.stdout
    assert "\x1b" not in done.stdout


def test_token_is_the_one_of_the_configuration_that_the_environment_names(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "hub.yaml").write_text("data_dir: kept\n")
    (tmp_path / "site" / "kept").mkdir()
    (tmp_path / "site" / "kept" / "token").write_text("the-token\n")
    (tmp_path / "elsewhere").mkdir()
    done = botyard("token", cwd=tmp_path / "elsewhere", BOTYARD_CONFIG=str(tmp_path / "site" / "hub.yaml"))
    assert (done.returncode, done.stdout) == (0, "the-token\n")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("empty", [False, True])
def test_token_where_no_hub_was_started_says_so_and_makes_none(tmp_path: Path, empty: bool) -> None:
    if empty:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "token").touch()
    done = botyard("token", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("✗ there is no access token in data yet: the hub makes it at its first start")
    assert [file.read_text() for file in tmp_path.rglob("token")] == ([""] if empty else [])


def test_token_with_a_bad_configuration_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("web: {port: x}\n")
    done = botyard("token", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == '✗ config.yaml:1: web.port: "x" is not of type "integer"\n'


def test_hub_is_ready_soon_after_its_start(hub: HubProcess, record_property: Any) -> None:
    started = psutil.Process(hub.process.pid).create_time()
    wait_until(hub._ready, "the hub is ready")
    took = time.time() - started
    record_property("seconds_until_ready", round(took, 2))
    print(f"ready after {took:.2f} s")
    assert took < 6.0  # 2 s on a machine that has nothing else to do
    assert "robots join at mqtt://127.0.0.1:" in hub.output()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_hub_that_is_told_to_stop_commits_what_it_received_and_leaves_nothing_behind(
    hub: HubProcess, number: signal.Signals
) -> None:
    wait_until(hub._ready, "the hub is ready")
    messages = [
        {"v": 1, "robot": "r", "body": {"groups": [{"dt": [0], "channels": [{"name": "x", "values": [n]}]}]}}
        for n in range(100)
    ]
    assert hub.api.post("/api/v1/telemetry", json=messages).json()["committed"] == 100
    family = hub.family()
    assert any("nats-server" in process.name() for process in family)
    assert hub.stop(number) == 0
    assert "stopped; everything that was received is committed" in hub.output()
    assert "Traceback" not in hub.output()
    assert not alive(family)
    hub.start()
    assert len(hub.get("readings", robot="r")["items"]) == 100
    assert hub.stop() == 0


def test_hub_that_is_told_to_stop_while_it_starts_stops(hub: HubProcess) -> None:
    wait_until(lambda: "dashboard and API" in hub.output() or "connected" in hub.output(), "it starts")
    assert hub.stop() == 0
    assert "Traceback" not in hub.output()


def test_hub_that_is_killed_leaves_no_process_behind_and_starts_again(hub: HubProcess) -> None:
    wait_until(hub._ready, "the hub is ready")
    family = hub.family()
    assert len(family) >= 3
    hub.kill()
    wait_until(lambda: not alive(family), "all of its processes are gone")
    hub.start()
    assert hub.stop() == 0


@pytest.mark.parametrize("part", ["web", "broker"])
def test_hub_whose_port_is_taken_says_so_in_one_line_and_leaves_nothing_behind(tmp_path: Path, part: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environment = {"BOTYARD__WEB__PORT": "0", "BOTYARD__BROKER__PORT": "0"}
        environment[f"BOTYARD__{part.upper()}__PORT"] = str(port)
        done = botyard("hub", cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert f"127.0.0.1:{port}" in line
    assert "Address already in use" in line
    folder = str(tmp_path)
    assert not [one for one in psutil.process_iter(["cmdline"]) if folder in " ".join(one.info["cmdline"] or [])]


def test_hub_beside_another_one_on_the_same_data_says_so_in_one_line(hub: HubProcess) -> None:
    wait_until(hub._ready, "the hub is ready")
    environment = {"BOTYARD__WEB__PORT": "0", "BOTYARD__BROKER__PORT": "0"}
    done = botyard("hub", "-c", "config.yaml", cwd=hub.folder, **environment)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert "another hub is using this database" in line


def test_hub_with_a_bad_configuration_says_so_in_one_line(tmp_path: Path) -> None:
    done = botyard("hub", "--config", "gone.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "✗ gone.yaml: cannot be read: No such file or directory\n"


WITHOUT = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Without())
sys.argv = ["botyard", "version"]
from botyard.cli.entry import main
main()
"""


@pytest.mark.parametrize("missing", ["typer", "rich", "httpx", "websockets"])
def test_command_without_the_packages_of_the_hub_says_what_to_install(missing: str) -> None:
    code = WITHOUT.format(names={missing})
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == (
        f"botyard: the module {missing!r} is not installed; the hub needs: pip install 'botyard[hub]'\n"
    )


def test_command_with_a_broken_plugin_still_has_its_other_commands(tmp_path: Path) -> None:
    package = tmp_path / "acme_broken-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-broken\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[botyard]\nacme = acme_broken\n")
    (tmp_path / "acme_broken.py").write_text(
        "from botyard.plugin import hookimpl\n@hookimpl\ndef botyard_commands(app): raise ValueError('on purpose')\n"
    )
    done = botyard("version", PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, f"botyard {__version__}\n")
    assert done.stderr == "✗ plugin 'acme' failed in botyard_commands: ValueError: on purpose\n"
