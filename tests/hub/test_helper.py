"""Helper processes that something kills while they start."""

from pathlib import Path

import pytest

from botyard.store.base import StoreError
from botyard.store.helper import FIRST_STARTS, Helper
from botyard_schemas.clock import SystemClock

HELPER = """
import os, signal, sys
from botyard.store.frames import OK, Answer, frame
marks, doing = sys.argv[1], sys.argv[2].split(",")
starts = len(os.listdir(marks))
open(os.path.join(marks, str(starts)), "w").close()
todo = doing[min(starts, len(doing) - 1)]
if todo == "die":
    os.kill(os.getpid(), signal.SIGKILL)
outcome, said = (OK, b"") if todo == "greet" else ("refused", b"this is not an SQLite database")
sys.stdout.buffer.write(frame(Answer(0, outcome, said)))
sys.stdout.buffer.flush()
sys.stdin.read()
"""


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "odd_helper.py").write_text(HELPER)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = tmp_path / "starts"
    folder.mkdir()
    return folder


def helper(starts: Path, doing: str) -> Helper:
    return Helper("writer", "odd_helper", [str(starts), doing], SystemClock())


def attempts(starts: Path) -> int:
    return len(list(starts.iterdir()))


async def test_helper_that_is_killed_while_it_starts_is_started_again(
    starts: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with helper(starts, "die,die,greet") as running:
        assert running.pid is not None
    assert attempts(starts) == 3
    again = [record.getMessage() for record in caplog.records if "started again" in record.getMessage()]
    assert again == ["the writer ended while it started (exit code -9), and is started again"] * 2


async def test_helper_that_is_killed_at_each_start_is_given_up(starts: Path) -> None:
    with pytest.raises(StoreError, match=r"the writer ended while it started \(exit code -9\)"):
        async with helper(starts, "die"):
            pass
    assert attempts(starts) == len(FIRST_STARTS) + 1


async def test_helper_that_refuses_to_start_is_not_started_again(starts: Path) -> None:
    with pytest.raises(StoreError, match="this is not an SQLite database"):
        async with helper(starts, "refuse"):
            pass
    assert attempts(starts) == 1
