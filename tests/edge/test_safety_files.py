"""What the safety node remembers, on disks that fail, and in files that something has damaged."""

import asyncio
import io
import os
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from botyard_edge.config import Config, OutboxSettings
from botyard_edge.driver import Command, CommandSpec, Motion
from botyard_edge.memory import MemoryOutbox
from botyard_edge.safety import SafetyNode, Store
from botyard_edge.safety.policy import Policy, Watchdogs
from botyard_edge.testing import VirtualClock
from botyard_schemas import Event, Report
from botyard_schemas.clock import SystemClock

from .conftest import World

GOTO = CommandSpec("goto", args={}, motion=Motion("goal"))
LAMP = CommandSpec("lamp", args={}, motion=Motion("none"))
DRIVE = CommandSpec("drive", args={}, motion=Motion("velocity", linear=("v",)))
FAR = 2 * 10**15


def opened(path: Path, clock: Any = None, **more: Any) -> SafetyNode:
    node = SafetyNode(clock=clock or VirtualClock(), store=Store(path), drivers=["io"], **more)
    node.open()
    return node


def begin(node: SafetyNode, id_: str, spec: CommandSpec = LAMP, **args: Any) -> bool:
    """Whether it is executed."""
    return node.judge(Command(id_, spec.name, FAR, args), spec, lambda _: None).args is not None


class Half(io.FileIO):
    """A file on a disk that takes part of a line, and then no more."""

    left = 10**9

    def write(self, data: Any) -> int:
        part = bytes(data)[: Half.left]
        Half.left -= len(part)
        return super().write(part)


async def test_latch_that_could_not_be_written_is_written_once_that_works_and_the_hub_hears_of_both(
    world: World, scripted: Callable[..., Config], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def idle(driver: Any, port: Any) -> None:
        await driver.context.clock.sleep(1e9)

    settings = scripted(idle, folder=tmp_path, outbox=OutboxSettings("out.db"), flush_timeout=0.1)
    outbox = MemoryOutbox("r1", clock=world.clock, rng=random.Random(1))
    async with world.running(settings, outbox=outbox) as runtime:
        await world.clock.advance(1)
        monkeypatch.setattr(os, "fsync", _no_space)
        runtime.safety.estop("a child on the floor")
        await world.clock.advance(10)
        assert runtime.safety.mode == "estop"
        monkeypatch.undo()
        await world.clock.advance(2)
        assert opened(tmp_path / "out.db.safety").mode == "estop", "nothing else has happened to the robot"
        told = [event.name for event in world.hub.bodies("r1", Event) if event.name.startswith("safety.disk")]
        assert told == ["safety.disk_failed", "safety.disk_recovered"]


def _no_space(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_command_that_was_begun_on_a_full_disk_is_not_executed_twice_once_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = VirtualClock()
    monkeypatch.setattr(io, "FileIO", Half)
    node = opened(tmp_path / "s", clock)
    assert begin(node, "before")
    Half.left = 30  # the next record is torn
    assert begin(node, "torn")
    assert begin(node, "after")
    Half.left = 10**9
    clock._elapsed += 2_000_000
    assert begin(node, "later", GOTO)
    again = opened(tmp_path / "s", clock)
    assert [begin(again, one) for one in ("before", "torn", "after", "later")] == [False] * 4
    assert again.mode == "safe", "it was killed in motion"
    node.close()
    again.close()


@pytest.mark.parametrize("rubbish", [b"\xff", b'{"causes": ["\xff"]}', b'{"causes": ' + b"[" * 100_000, b"\0"])
def test_latch_that_holds_anything_counts_as_an_emergency_stop(rubbish: bytes, tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(rubbish)
    assert opened(tmp_path / "s").mode == "estop"


@pytest.mark.parametrize("rubbish", [b"\xff\n", b'{"begun": "g\xffto"}\n', b"[" * 100_000 + b"\n", b"\0\n", b"7\n"])
def test_lines_of_the_ledger_that_cannot_be_read_hide_no_others(rubbish: bytes, tmp_path: Path) -> None:
    node = opened(tmp_path / "s")
    assert begin(node, "first")
    node.finish(Report("first", "succeeded"))
    node.close()
    with (tmp_path / "s.commands").open("ab") as file:
        file.write(rubbish)
    again = opened(tmp_path / "s")
    assert begin(again, "second")
    again.finish(Report("second", "succeeded"))
    again.close()
    last = opened(tmp_path / "s")
    assert [begin(last, one) for one in ("first", "second")] == [False, False]


def test_refusals_make_the_robot_forget_nothing_that_it_has_done(tmp_path: Path) -> None:
    node = opened(tmp_path / "s")
    assert begin(node, "blast")
    node.finish(Report("blast", "succeeded"), LAMP)
    node.estop("pressed")
    for number in range(5000):  # a joystick goes on for minutes, and somebody else asks for a drive
        assert not begin(node, f"v{number}", DRIVE, v=0.5)
        assert not begin(node, f"g{number}", GOTO)
    refused = Command("g4999", "goto", FAR, {})
    node.close()
    for known in (node, opened(tmp_path / "s")):
        assert not begin(known, "blast")
        report = known.judge(refused, GOTO, lambda _: None).report
        assert report is not None
        assert report.status == "rejected"
        assert sum(1 for _ in known.core.ledger.records()) < 10_000, "and it is bounded"


async def test_no_command_begins_before_its_record_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_sync = threading.Event()
    begun: list[str] = []

    def slow(file: int) -> None:
        assert may_sync.wait(10)
        fsync(file)

    node = opened(tmp_path / "s", SystemClock(), threads=True)
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", slow)

    async def execute(id_: str) -> None:
        assert begin(node, id_)
        await node.on_disk()
        begun.append(id_)

    tasks = [asyncio.create_task(execute(f"c{number}")) for number in range(3)]
    for _ in range(20):
        await asyncio.sleep(0.005)
    assert begun == [], "also the one that finds another waiting already"
    may_sync.set()
    await asyncio.gather(*tasks)
    assert sorted(begun) == ["c0", "c1", "c2"]
    node.close()


async def test_ledger_is_written_anew_without_the_loop_waiting_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard_edge.safety.files.FULL", 200)
    node = opened(tmp_path / "s", SystemClock(), threads=True)
    fsync, held, waiting = os.fsync, threading.Event(), threading.Event()

    def slow(file: int) -> None:
        assert threading.current_thread() is not threading.main_thread()
        waiting.set()
        assert held.wait(10)
        fsync(file)

    monkeypatch.setattr(os, "fsync", slow)
    for number in range(1000):
        assert begin(node, f"c{number}")
        node.finish(Report(f"c{number}", "succeeded", result={"x": "y" * 3000}))
    assert waiting.wait(10), "it is under way"
    held.set()
    if (thread := node._files._rewriting) is not None:
        thread.join(10)
    monkeypatch.undo()
    begin(node, "last")
    node.close()
    path = tmp_path / "s.commands"
    assert path.stat().st_size < 200_000, "results are the hub's to remember"
    again = opened(tmp_path / "s")
    assert not any(begin(again, f"c{number}") for number in range(1000))
    assert not begin(again, "last")


def test_ledger_that_is_written_anew_after_a_rest_does_not_say_that_the_robot_moves(tmp_path: Path) -> None:
    node = opened(tmp_path / "s")
    assert begin(node, "c1", DRIVE, v=0.5)
    assert begin(node, "stop", CommandSpec("safety.stop"))
    node._files.write_anew()  # while the driver has not ended the command yet
    node.finish(Report("c1", "cancelled", reason="so"), DRIVE)
    node.finish(Report("stop", "succeeded"))
    node.at_rest()
    node.close()
    assert opened(tmp_path / "s").mode == "auto"


def test_safety_node_whose_disk_hangs_is_looked_at_again_after_a_while_and_not_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, go_on = VirtualClock(), threading.Event()
    node = opened(tmp_path / "s", clock, threads=True)
    monkeypatch.setattr(Store, "note", _no_space)
    assert begin(node, "c1")
    monkeypatch.undo()
    monkeypatch.setattr(os, "fsync", lambda _: go_on.wait(10))
    looks = 0
    while clock.monotonic() < 20.0:
        due = node.due(clock.monotonic())
        assert due is not None
        assert due > clock.monotonic() or not looks, "or whoever waits for it would spin"
        clock._elapsed = max(clock._elapsed, round(due * 1e6) + 1)
        node.tick(clock.now())
        looks += 1
    assert looks < 250
    go_on.set()
    node.close()


def test_lost_link_leads_to_safe_mode_also_among_very_many_emergency_stops_and_nobody_spins() -> None:
    clock = VirtualClock()
    node = SafetyNode(Policy(watchdogs=Watchdogs(link="stop", link_timeout=3.0)), clock=clock)
    node.heard("io", {"estop_inputs": {f"i{number}": True for number in range(300)}})
    node.linked(False, clock.monotonic())
    clock._elapsed += 3_000_001
    node.tick(clock.now())
    assert node.due(clock.monotonic()) is None
    assert "link" in node.core.causes.sources("link")
    node.linked(True, clock.monotonic())
    assert not node.core.causes.sources("link"), "and it ends with the outage"
