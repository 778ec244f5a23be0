"""The pytest plugin: what the docs show, in a fresh interpreter as integrators have it, and what the fixtures do."""

import asyncio
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from botyard.commands.request import CommandRefusedError
from botyard_edge.driver import Capabilities, Channel, Command, CommandSpec, Driver, Motion, Port, Progress
from botyard_plugins.simulation.testing import Faults, MakeFleet, MakeRobot, Stage, StageClock
from botyard_schemas.settings import SettingsError

PAGE = Path(__file__).parents[2] / "docs" / "integrators" / "testing.md"


class Counter(Driver):
    """Counts the seconds, as long as it is asked to."""

    count = 0

    @property
    def capabilities(self) -> Capabilities:
        wait = CommandSpec("wait", "Wait.", {"type": "object"}, Motion("none"))
        return Capabilities((Channel("count", "integer"), Channel("level", unit="V")), (wait,))

    async def run(self, port: Port) -> None:
        while True:
            self.count += 1
            await port.publish({"count": self.count, "level": 12.0})
            await self.context.clock.sleep(1.0)

    async def execute(self, command: Command, progress: Progress) -> dict[str, Any] | None:
        for part in (0.5, 1.0):
            await self.context.clock.sleep(command.args.get("seconds", 1.0) / 2)
            await progress(part)
        return {"count": self.count}


# --- as integrators have it


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the driver, the tests and the robot.yaml of the docs."""
    driver, *tests = blocks("python")
    (tmp_path / "acme_carrier.py").write_text(driver)
    for number, source in enumerate(tests):
        (tmp_path / f"test_{number}.py").write_text(source)
    (tmp_path / "robot.yaml").write_text(blocks("yaml")[0])
    return tmp_path


def pytest_in(folder: Path, *args: str) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--basetemp=tmp", *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=100)
    return done.stdout + done.stderr


ASYNCIO = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.mark.parametrize("args", [ASYNCIO, ("-p", "no:asyncio", "-p", "no:anyio")], ids=["with-asyncio", "without"])
def test_docs_examples_pass_in_a_fresh_interpreter(project: Path, args: tuple[str, ...]) -> None:
    shown = "".join(blocks("python")).count("def test_")
    assert shown >= 6
    assert f"{shown} passed" in pytest_in(project, *args)


def test_docs_tests_are_about_ten_lines_each() -> None:
    for source in blocks("python")[1:]:
        for test in re.split(r"^def ", source, flags=re.MULTILINE)[1:]:
            assert len(test.strip().splitlines()) <= 11, test


def test_fixtures_work_in_asynchronous_tests_and_leave_their_loop_alone(project: Path) -> None:
    for file in project.glob("test_*.py"):
        file.unlink()
    (project / "test_async.py").write_text(
        "import asyncio\n"
        "from acme_carrier import Carrier\n"
        "async def test_async(robot, virtual_clock):\n"
        "    loop = asyncio.get_running_loop()\n"
        "    carrier = robot(Carrier)\n"
        "    virtual_clock.advance(10)\n"
        "    await asyncio.sleep(0)\n"
        "    assert carrier.command('lift', height=1).status == 'succeeded'\n"
        "    assert asyncio.get_running_loop() is loop\n"
        "def test_plain(robot):\n"
        "    assert robot(Carrier).online\n"
        "async def test_async_again():\n"
        "    assert type(asyncio.get_running_loop()).__name__ != 'VirtualLoop'\n"
    )
    assert "3 passed" in pytest_in(project, *ASYNCIO)


def test_plugin_that_is_not_used_imports_nothing_of_botyard_but_itself(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n"
        "def test_nothing():\n"
        "    ours = sorted(name for name in sys.modules if name.startswith('botyard') and name.count('.') == 2)\n"
        "    assert ours == ['botyard_plugins.simulation.fixtures']\n"
        "    assert not {'botyard', 'botyard_edge', 'botyard_schemas'} & set(sys.modules)\n"
    )
    said = pytest_in(tmp_path, *ASYNCIO)
    assert "1 passed" in said, said


def test_fixtures_without_the_hub_say_what_to_install(project: Path) -> None:
    (project / "conftest.py").write_text("import sys\nsys.modules['hypercorn'] = sys.modules['tortoise'] = None\n")
    said = pytest_in(project, *ASYNCIO, "test_0.py")
    assert "the fixtures of botyard run a hub, and tortoise" in said
    assert "pip install 'botyard[edge,hub,test]'" in said


# --- what the fixtures do


def test_robot_is_online_at_once_and_shows_what_the_hub_has(robot: MakeRobot, virtual_clock: StageClock) -> None:
    counter = robot(Counter)
    assert counter.online
    assert counter.state.nodes["driver.counter"].status == "running"
    virtual_clock.advance(30)
    values, times = counter.samples("count"), counter.times("count")
    assert values == list(range(1, len(values) + 1))
    assert 28 <= len(values) <= 31
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {1_000_000}
    assert [event.name for event in counter.events("robot")][:1] == ["robot.registered"]
    assert counter.finish() == []


def test_channel_that_a_robot_does_not_send_is_named_with_those_that_it_does(robot: MakeRobot) -> None:
    counter = robot(Counter)
    with pytest.raises(LookupError, match="robot-1 has sent no channel 'cuont' yet"):
        counter.samples("cuont")


def test_command_is_followed_to_its_end_and_may_be_begun_without_waiting(
    robot: MakeRobot, virtual_clock: StageClock
) -> None:
    counter = robot(Counter)
    begun = counter.begin("wait", seconds=20)
    virtual_clock.advance(15)
    assert (begun.status, begun.answer) == ("running", None)
    virtual_clock.advance(10)
    assert begun.answer is not None
    assert (begun.answer.status, begun.answer.progress) == ("succeeded", [0.5, 1.0])
    assert counter.command("dance").status == "rejected"
    with pytest.raises(TimeoutError, match=r"wait of robot-1 has not ended within 15 s: running, progress 0\.50"):
        counter.command("wait", within=10, seconds=28)


def test_command_to_a_robot_that_is_away_expires(robot: MakeRobot, faults: Faults) -> None:
    counter = robot(Counter)
    faults("link_loss", counter, seconds=100)
    assert counter.command("wait", within=20).status == "expired"


def test_command_that_cannot_be_kept_is_refused(robot: MakeRobot) -> None:
    with pytest.raises(CommandRefusedError):
        robot(Counter).command("no name", within=10)


@pytest.mark.parametrize(
    "fault", ["link_loss", "partition", "latency", "loss", "duplicates", "reordering", "clock_jump", "clock_skew"]
)
def test_nothing_is_lost_whatever_happens_to_the_network(
    fleet: MakeFleet, faults: Faults, virtual_clock: StageClock, fault: str
) -> None:
    counters = fleet(3, Counter)
    faults(fault, seconds=40)
    virtual_clock.advance(100)
    for counter in counters:
        values = sorted(counter.samples("count"))
        assert values == list(range(1, len(values) + 1))
        assert len(values) >= 98
    assert counters.finish() == []


def test_driver_that_crashes_is_started_again_and_the_hub_is_told(
    robot: MakeRobot, faults: Faults, virtual_clock: StageClock
) -> None:
    counter = robot(Counter)
    faults("node_crash", counter)
    virtual_clock.advance(20)
    assert [event.name for event in counter.events("node")] == ["node.restarting", "node.recovered"]


def test_robot_with_a_disk_survives_a_reboot_and_loses_nothing(
    robot: MakeRobot, faults: Faults, virtual_clock: StageClock
) -> None:
    counter = robot(Counter, disk=True)
    first = counter.runtime
    virtual_clock.advance(10)
    faults("reboot", counter, seconds=5)
    virtual_clock.advance_until(lambda: not counter.online, limit=5)
    virtual_clock.advance_until(lambda: counter.online, limit=60)
    assert counter.runtime is not first
    assert counter.finish() == []


def test_sensor_that_is_stuck_shows_what_it_showed_first(
    robot: MakeRobot, faults: Faults, virtual_clock: StageClock
) -> None:
    counter = robot(Counter)
    virtual_clock.advance(5)
    faults("sensor_stuck", counter, seconds=1000, channel="count")
    virtual_clock.advance(20)
    assert len(set(counter.samples("count")[-15:])) == 1
    assert len(set(counter.samples("count"))) >= 5


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("link_lost", {}, "there is no fault 'link_lost', did you mean 'link_loss'?"),
        ("sensor_nan", {}, "sensor_nan is about a channel: name it"),
        ("reboot", {}, "reboot: robot-1 would lose what is not sent yet: make it with disk=True"),
    ],
)
def test_fault_that_cannot_be_says_why(
    robot: MakeRobot, faults: Faults, name: str, options: dict[str, Any], says: str
) -> None:
    robot(Counter)
    with pytest.raises(ValueError, match=re.escape(says)):
        faults(name, **options)


def test_robot_with_wrong_options_says_where(robot: MakeRobot) -> None:
    with pytest.raises(SettingsError, match=r"robot-1\.yaml:\d+: drivers\.sim\.options\.spede: unknown key"):
        robot("sim", {"spede": 1.0})


def test_driver_that_is_not_known_is_told_with_those_that_are(robot: MakeRobot) -> None:
    with pytest.raises(SettingsError, match=r"no plugin brings a driver 'simm'.*did you mean 'sim'"):
        robot("simm")


def test_two_robots_of_one_name_are_refused(robot: MakeRobot) -> None:
    robot(Counter, name="twin")
    with pytest.raises(ValueError, match="there is a robot 'twin' already; give this one another name"):
        robot(Counter, name="twin")


def test_clock_stands_still_between_calls(virtual_clock: StageClock) -> None:
    before = virtual_clock.now()
    assert virtual_clock.now() == before
    virtual_clock.advance(3600)
    assert virtual_clock.now() == before + 3_600_000_000
    with pytest.raises(TimeoutError, match="not so within 5 virtual seconds"):
        virtual_clock.advance_until(lambda: False, limit=5)


def test_same_seed_gives_the_same_robot_and_another_does_not(tmp_path: Path) -> None:
    def heard(seed: int, folder: str) -> list[Any]:
        (tmp_path / folder).mkdir()
        with Stage(tmp_path / folder, seed) as stage:
            sim = stage.robot("sim")
            stage.faults("loss", sim, seconds=20, value=0.5)
            stage.clock.advance(60)
            return [*zip(sim.times("gripper.force"), sim.samples("gripper.force"), strict=True)]

    first = heard(5, "first")
    assert len(first) > 500
    assert heard(5, "again") == first
    assert heard(6, "other") != first


def test_fleet_is_a_sequence_and_is_commanded_at_once(fleet: MakeFleet, virtual_clock: StageClock) -> None:
    counters = fleet(5, Counter, name="c")
    assert [counter.name for counter in counters] == ["c-1", "c-2", "c-3", "c-4", "c-5"]
    began = virtual_clock.monotonic()
    answers = counters[1:4].command("wait", seconds=30)
    assert [answer.status for answer in answers] == ["succeeded"] * 3
    assert virtual_clock.monotonic() - began < 35
    assert counters.finish() == []


async def test_fixtures_run_beside_the_loop_of_an_asynchronous_test(robot: MakeRobot) -> None:
    counter = robot(Counter)
    ticks: list[int] = []
    asyncio.get_running_loop().call_soon(ticks.append, 1)
    assert counter.command("wait").status == "succeeded"
    assert not ticks  # the test's own loop stood still
    await asyncio.sleep(0)
    assert ticks


@pytest.fixture
def early(robot: MakeRobot) -> Any:
    return robot(Counter)


async def test_robot_that_was_started_outside_of_an_asynchronous_test_says_so(early: Any) -> None:
    with pytest.raises(RuntimeError, match="start them in the test, or make it a plain function"):
        early.command("wait")
