"""What holds for all tests."""

import os
import signal

import hypothesis
import pytest

# The machine may be busy with other tests: an example that takes long is no failure.
hypothesis.settings.register_profile("botyard", deadline=None)
hypothesis.settings.load_profile("botyard")

# A shell lets what it runs in the background ignore SIGINT, and whoever is started from there does, too: processes that
# tests interrupt would not hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
