"""What holds for all tests."""

import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# The machine may be busy with other tests: an example that takes long is no failure.
hypothesis.settings.register_profile("botyard", deadline=None)
hypothesis.settings.load_profile("botyard")

# A shell lets what it runs in the background ignore SIGINT, and whoever is started from there does, too: processes that
# tests interrupt would not hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hundreds of processes start here: where the environment forbids Python to keep what it compiled, each of them would
# compile all of its sources again, and pytest would rewrite the assertions of all tests in each worker.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Mostly waiting for real processes, the longest first: spread among the tests that compute, they cost little time.
WAITING = ("test_wheel", "test_replay", "test_chaos", "test_dashboard", "test_bench", "test_edge_restart", "")


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Iterator[None]:
    """While a test waits for a process, another one computes."""
    cores: int = yield  # type: ignore[assignment]
    return cores if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores + (cores + 1) // 2  # type: ignore[return-value]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the whole system first: a worker begins with them while the others do all the rest, and whoever is
    done takes some of what is left. Tests of a file stay together, since they share what is made for the file."""

    def rank(item: pytest.Item) -> int:
        folder, name = item.path.parent.name, item.path.stem
        return WAITING.index(name if name in WAITING else "") if folder == "system" else len(WAITING)

    items.sort(key=rank)


@pytest.fixture(scope="session", autouse=True)
def _temporary_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One folder for all that tests, and what they start, make in the system's temporary folder. Nothing is left in it
    when all tests have passed. Its path is short, since Chromium has a socket there."""
    tmp_path_factory.getbasetemp()  # which pytest makes in the system's folder when it is first asked for
    before = os.environ.get("TMPDIR")
    folder = Path(tempfile.mkdtemp(prefix="by-test-"))
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
    yield
    left = sorted(path.name for path in folder.iterdir())
    shutil.rmtree(folder, ignore_errors=True)
    tempfile.tempdir = None
    os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)
    assert not left or request.session.testsfailed, f"tests have left this in the temporary folder: {left}"


@pytest.fixture(autouse=True)
def _level_of_the_log() -> Iterator[None]:
    """A test that leaves the log quieter takes from those after it what they look for."""
    before = logging.getLogger().level
    yield
    assert logging.getLogger().level == before, "the test has left another level of the log behind"


def _skipped(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", ())) if reporter else 0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if os.environ.get("CI") and (count := _skipped(config)):
        terminalreporter.write_line(f"✗ {count} skipped: with CI set every test must run", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI set, a skipped test fails the run: a missing tool must not look like success."""
    if os.environ.get("CI") and session.exitstatus == pytest.ExitCode.OK and _skipped(session.config):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
