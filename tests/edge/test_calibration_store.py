"""The calibration's file: whatever happens while it is written, the last good one is there."""

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from botyard_edge.calibration import CalibrationError, CalibrationNode, History, Store, differences
from botyard_edge.calibration.history import MAX_PROFILES
from botyard_edge.testing import VirtualClock
from botyard_schemas.calibration import Draft, Linear, Motor
from botyard_schemas.messages import Event

# What a save does, in its order: write, fsync of the file, the old one aside, the new one in its place, fsync of the
# folder. A process may end, and a disk may fail, at each of them.
STEPS = 5


class CrashError(BaseException):
    """The process has ended here."""


def history(number: int) -> History:
    """One that can be told from all others."""
    return History().with_draft(Draft("p", Linear("c", float(number))), when=number, who="me")[0]


def number_of(store: Store) -> tuple[int | None, str | None]:
    """What would be applied after a start, and the trouble that is told."""
    found, trouble = store.load()
    profiles = found.latest
    correction = profiles[0].correction if profiles else None
    return (int(correction.offset) if isinstance(correction, Linear) else None), trouble


def crash_at(patch: pytest.MonkeyPatch, step: int, error: type[BaseException], torn: int) -> None:
    """Let the step with this number fail; a file that is being written is left with `torn` bytes."""
    count = 0
    fsync, replace, opened = os.fsync, Path.replace, Path.open

    def passed() -> None:
        nonlocal count
        count += 1
        if count == step:
            raise error

    def at_open(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name.endswith(".part"):
            count_before = count
            try:
                passed()
            except BaseException:
                path.write_bytes(b"0" * torn)
                raise
            assert count == count_before + 1
        return opened(path, *args, **kwargs)

    def at_fsync(fd: int) -> None:
        passed()
        fsync(fd)

    def at_replace(path: Path, target: Path) -> Path:
        passed()
        return replace(path, target)

    patch.setattr(Path, "open", at_open)
    patch.setattr(os, "fsync", at_fsync)
    patch.setattr(Path, "replace", at_replace)


STEP = st.tuples(st.integers(1, STEPS), st.sampled_from([CrashError, OSError]), st.integers(0, 500))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.none() | STEP, min_size=1, max_size=8))
def test_store_that_is_killed_at_any_step_of_any_write_has_the_last_good_one(
    saves: list[tuple[int, type[BaseException], int] | None],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration"
        store, kept = Store(path), None
        for number, crash in enumerate(saves):
            with pytest.MonkeyPatch.context() as patch:
                if crash is not None:
                    crash_at(patch, *crash)
                try:
                    store.save(history(number))
                    kept = number
                    survived: set[int | None] = {number}
                except (CrashError, OSError):
                    survived = {kept, number}  # it was not promised, but may be there
            after = Store(path)
            found, trouble = number_of(after)
            assert found in survived
            assert trouble is None
            kept = found
            if crash is not None and crash[1] is CrashError:
                store = after  # another process goes on


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.binary(max_size=80), st.integers(0, 2000), st.booleans())
def test_file_that_is_spoiled_gives_way_to_the_one_before_it(count: int, junk: bytes, at: int, cut: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration"
        store = Store(path)
        for number in range(count):
            store.save(history(number))
        good = path.read_bytes()
        spoiled = good[: at % len(good)] + (b"" if cut else junk + good[at % len(good) + len(junk) :])
        path.write_bytes(spoiled)
        after = Store(path)
        found, trouble = number_of(after)
        if spoiled == good:
            assert (found, trouble) == (count - 1, None)
            return
        assert found == (count - 2 if count > 1 else None)
        assert trouble is not None
        assert "its checksum does not match" in trouble
        # What is saved now must not push the good one out by the spoiled one.
        after.save(history(100))
        assert number_of(Store(path)) == (100, None)
        path.write_bytes(b"")
        assert number_of(Store(path))[0] == (count - 2 if count > 1 else None)


def test_process_that_is_killed_while_it_writes_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "calibration"
    code = (
        "from pathlib import Path; import sys\n"
        "from botyard_edge.calibration import History, Store\n"
        "from botyard_schemas.calibration import Draft, Linear\n"
        "store, number = Store(Path(sys.argv[1])), 0\n"
        "while True:\n"
        "    number += 1\n"
        "    store.save(History().with_draft(Draft('p', Linear('c', float(number))), when=number, who='me')[0])\n"
        "    print(number, flush=True)\n"
    )
    written = tmp_path / "written"
    with written.open("wb") as stream:
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=stream)
        while not written.stat().st_size:
            time.sleep(0.02)
        time.sleep(0.2)
        writer.kill()
        writer.wait()
    last = int(written.read_text().split()[-1])
    found, trouble = number_of(Store(path))
    assert trouble is None
    assert found in (last, last + 1)


class Still:
    """A robot at rest."""

    def moving(self) -> str | None:
        return None

    def tell(self, event: Event) -> None: ...

    def health(self, reasons: list[str]) -> None: ...


class Gated(Store):
    """Begins to write when it may."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.begun, self.may = threading.Event(), threading.Event()
        self.broken = False

    def save(self, history: History) -> None:
        self.begun.set()
        assert self.may.wait(10)
        if self.broken:
            raise OSError(28, "No space left on device")
        super().save(history)


async def test_change_that_nobody_waits_for_any_more_is_on_the_disk_and_applied_before_the_next(tmp_path: Path) -> None:
    store = Gated(tmp_path / "c")
    node = CalibrationNode(Still(), clock=VirtualClock(), store=store, drivers=["base"], threads=True)
    assert node.open()
    first = asyncio.create_task(node.set(Draft("p", Linear("c", 1.0)), who="me"))
    await asyncio.to_thread(store.begun.wait, 10)
    waits = asyncio.create_task(node.set(Draft("p", Linear("c", 2.0)), who="me"))
    last = asyncio.create_task(node.set(Draft("p", Linear("c", 3.0)), who="me"))
    await asyncio.sleep(0)
    for one in (first, waits):
        one.cancel()
    assert [type(one) for one in await asyncio.gather(first, waits, return_exceptions=True)] == [
        asyncio.CancelledError
    ] * 2
    assert node.profiles == [], "nothing is applied that is not on the disk"
    store.may.set()
    assert (await last).version == 2
    assert [one.correction for one in node.history("p")] == [Linear("c", 1.0), Linear("c", 3.0)]
    assert Store(tmp_path / "c").load()[0].hash == node.hash
    node.close()


@pytest.mark.parametrize("broken", [False, True])
async def test_end_waits_for_a_change_that_is_under_way(
    broken: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Gated(tmp_path / "c")
    node = CalibrationNode(Still(), clock=VirtualClock(), store=store, drivers=["base"], threads=True)
    assert node.open()
    change = asyncio.create_task(node.set(Draft("p", Linear("c", 1.0)), who="me"))
    await asyncio.to_thread(store.begun.wait, 10)
    change.cancel()
    await asyncio.gather(change, return_exceptions=True)
    end = asyncio.create_task(node.settled())
    await asyncio.sleep(0)
    assert not end.done()
    store.broken = broken
    store.may.set()
    await end
    assert number_of(store) == (None if broken else 1, None)
    assert [one.correction for one in node.profiles] == ([] if broken else [Linear("c", 1.0)])
    assert ("nobody waited for any more failed" in caplog.text) is broken
    node.close()


async def test_robot_that_sets_out_while_its_motor_is_saved_keeps_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: History) -> None:
        raise OSError(28, "No space left on device")

    class Robot:
        moves: list[str | None]

        def moving(self) -> str | None:
            return self.moves.pop(0)

        def tell(self, event: Event) -> None: ...

        def health(self, reasons: list[str]) -> None: ...

    robot = Robot()
    store = Store(tmp_path / "c")
    node = CalibrationNode(robot, clock=VirtualClock(), store=store, drivers=["base"])
    assert node.open()
    robot.moves = [None, None]
    await node.set(Draft("m", Motor("drive", "v", gain=1.5)), who="me")
    robot.moves = [None, None, "drive"]
    with pytest.raises(CalibrationError, match=r"the robot moves \(drive\)"):
        await node.set(Draft("m", Motor("drive", "v", gain=1.1)), who="me")
    assert [one.version for one in node.history("m")] == [1]
    known, trouble = Store(tmp_path / "c").load()
    assert (known.hash, trouble) == (node.hash, None)
    robot.moves = [None, None, "drive"]
    saves = iter([store.save, broken])
    monkeypatch.setattr(Store, "save", lambda _, history: next(saves)(history))
    with pytest.raises(
        CalibrationError, match=r"moves \(drive\).*; it would count from the next start, since .* No space"
    ):
        await node.set(Draft("m", Motor("drive", "v", gain=1.1)), who="me")
    assert [one.version for one in node.history("m")] == [1]
    node.close()


def test_store_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    first, second = Store(tmp_path / "c"), Store(tmp_path / "c")
    assert first.lock()
    assert not second.lock()
    first.close()
    assert second.lock()
    second.close()


def test_history_keeps_the_latest_versions_and_counts_on() -> None:
    known = History(keep=3)
    for number in range(10):
        known, _ = known.with_draft(Draft("p", Linear("c", float(number))), when=number, who="x" * 1000)
    assert [one.version for one in known.of("p")] == [8, 9, 10]
    assert len(known.latest[0].who) == 256
    with pytest.raises(CalibrationError, match="version 2 of p is not kept, known are 8 to 10"):
        known.restored("p", 2)
    with pytest.raises(CalibrationError, match="there is no profile 'q', known are p"):
        known.restored("q", 0)


def test_history_takes_no_more_profiles_than_the_state_has_room_for() -> None:
    known = History()
    for number in range(MAX_PROFILES):
        known, _ = known.with_draft(Draft(f"p{number}", Linear(f"c{number}")), when=0, who="")
    with pytest.raises(CalibrationError, match="name: there are 64 profiles already"):
        known.with_draft(Draft("one", Linear("more")), when=0, who="")
    known.with_draft(Draft("p0", None), when=0, who="")


def test_history_that_is_full_forgets_what_was_switched_off_first() -> None:
    known = History()
    for number in range(MAX_PROFILES):
        known, _ = known.with_draft(Draft(f"p{number}", Linear(f"c{number}")), when=0, who="")
    for when, name in ((3, "p5"), (2, "p7")):
        known, _ = known.with_draft(known.restored(name, 0), when=when, who="")
    before = known.hash
    known, _ = known.with_draft(Draft("new", Linear("more")), when=4, who="")
    assert {f"p{number}" for number in range(MAX_PROFILES)} - known.versions.keys() == {"p7"}
    assert len(known.versions) == MAX_PROFILES
    assert known.hash != before
    known, _ = known.with_draft(known.restored("new", 0), when=5, who="")
    assert known.hash == before, "what is forgotten was not applied"


def test_differences_are_told_field_by_field() -> None:
    before, after = Draft("p", Linear("c", 1.0), note="n"), Draft("p", Linear("c", 2.0), raw=True)
    assert differences(before, after) == [("correction.offset", 1.0, 2.0), ("note", "n", ""), ("raw", False, True)]
    assert differences(before, before) == []
    assert ("correction.channel", None, "c") in differences(None, after)
