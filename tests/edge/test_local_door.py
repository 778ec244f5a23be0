"""The local door of a robot, over a real socket and with the real command."""

import asyncio
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from botyard_edge.cli import main
from botyard_edge.local.door import DoorError, LocalDoor, Request, ask
from botyard_edge.local.status import Face
from botyard_edge.safety import SafetyNode
from botyard_edge.testing import VirtualClock
from botyard_schemas import State


async def call(path: Path, do: str, reason: str = "") -> tuple[int, Path]:
    arguments = ["estop", do, str(path), *(["--reason", reason] if reason else [])]
    return await asyncio.to_thread(main, arguments), path


def robot(tmp_path: Path) -> Path:
    # Longer than the address of a socket may be.
    folder = tmp_path / ("deep" * 30)
    folder.mkdir()
    path = folder / "robot.yaml"
    path.write_text("robot: r1\ndrivers: {sim: {}}\n")
    return path


def face(safety: SafetyNode) -> Face:
    def state() -> State:
        return State(safety.mode, "ok", safety.reason)

    return Face("r1", safety, clock=VirtualClock(), state=state, to=lambda: None)


async def test_stop_is_set_and_cleared_at_the_robot(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = robot(tmp_path)
    safety = SafetyNode(clock=VirtualClock())
    door = path.parent / "state" / "r1.outbox.db.local.sock"
    async with LocalDoor(door, face(safety)):
        assert door.stat().st_mode & 0o777 == 0o600
        assert (await call(path, "set", "a child on the floor"))[0] == 0
        assert safety.mode == "estop"
        assert "estop: " in capsys.readouterr().out
        safety.heard("io", {"estop_inputs": {"red": True}})
        assert (await call(path, "clear"))[0] == 1
        assert "cannot be cleared while its cause lasts: io/red is pressed" in capsys.readouterr().err
        safety.heard("io", {"estop_inputs": {"red": False}})
        assert (await call(path, "status"))[0] == 0
        said = capsys.readouterr().out
        assert "mode: estop" in said
        assert (
            "pressed the emergency stop at the robot: a child on the floor (has gone, and waits to be cleared)" in said
        )
        assert (await call(path, "clear"))[0] == 0
        assert safety.core.causes.level is None
    assert not door.exists()


async def test_stop_needs_neither_the_file_nor_a_name_for_whoever_presses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = robot(tmp_path)
    monkeypatch.chdir(path.parent)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # as in a container: no such user is known
    safety = SafetyNode(clock=VirtualClock())
    async with LocalDoor(path.parent / "state" / "r1.outbox.db.local.sock", face(safety)):
        assert await asyncio.to_thread(main, ["estop", "set"]) == 0
    assert safety.mode == "estop"
    assert "uid 2147483641 pressed the emergency stop" in str(safety.reason)


async def test_robot_that_does_not_run_is_told_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await call(robot(tmp_path), "status"))[0] == 1
    assert capsys.readouterr().err.count("\n") == 1


async def test_rubbish_at_the_door_is_answered_and_harms_nothing(tmp_path: Path) -> None:
    safety = SafetyNode(clock=VirtualClock())
    door = tmp_path / "door"
    async with LocalDoor(door, face(safety)):
        for rubbish in (b"\n", b"\0\xff\n", b'{"do": "dance"}\n', b"x" * 40_000 + b"\n", b"[" * 10_000 + b"\n"):
            reader, writer = await asyncio.open_unix_connection(door)
            writer.write(rubbish)
            assert b"error" in await reader.readline()
            writer.close()
            await writer.wait_closed()
        answer = await asyncio.to_thread(ask, door, Request("status"))
        assert answer.status.mode == "auto"
    with pytest.raises(DoorError, match="no edge answers"):
        await asyncio.to_thread(ask, door, Request("status"))


async def test_door_that_closes_leaves_the_one_that_was_opened_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "door"
    first, second = SafetyNode(clock=VirtualClock()), SafetyNode(clock=VirtualClock())
    async with LocalDoor(path, face(second)) as door, LocalDoor(path, face(first)):
        second.estop("pressed")
        await door.__aexit__()
        assert (await asyncio.to_thread(ask, path, Request("status"))).status.mode == "auto"
    assert not path.exists()


async def test_door_answers_and_logs_what_goes_wrong_in_an_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(args: Mapping[str, Any], who: str) -> tuple[dict[str, Any] | None, str | None]:
        if args:
            return {"cannot be sent": object()}, None
        raise OverflowError("int too large to convert to float")

    path = tmp_path / "door"
    async with LocalDoor(path, face(SafetyNode(clock=VirtualClock())), calibration=broken):
        for args, said in (("{}", "OverflowError: int too large"), ('{"a": 1}', "TypeError: ")):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"do": "calibration", "args": ' + args.encode() + b"}\n")
            async with asyncio.timeout(10):
                assert f"it could not be answered: {said}" in (await reader.read()).decode()
            writer.close()
            await writer.wait_closed()
    assert caplog.text.count("a request at the local door could not be answered") == 2


def conversations() -> list["asyncio.Task[Any]"]:
    return [task for task in asyncio.all_tasks() if "LocalDoor" in str(task.get_coro())]


@pytest.mark.parametrize("size", [1_000_000, 5_000_000])
async def test_visitor_who_never_reads_is_not_waited_for_for_ever(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard_edge.local.door.WITHIN", 0.2)
    asked = asyncio.Event()

    async def much(args: Mapping[str, Any], who: str) -> tuple[dict[str, Any] | None, str | None]:
        asked.set()
        return {"x": "y" * size}, None

    path = tmp_path / "door"
    async with LocalDoor(path, face(SafetyNode(clock=VirtualClock())), calibration=much):
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(path))
            visitor.sendall(b'{"do": "calibration"}\n')
            async with asyncio.timeout(10):
                await asked.wait()
                await asyncio.gather(*conversations(), return_exceptions=True)
            visitor.settimeout(10)

            def read_all() -> None:
                while visitor.recv(1 << 20):  # what was on its way; then it is closed
                    pass

            await asyncio.to_thread(read_all)


async def test_visitors_who_say_nothing_or_ask_for_long_keep_the_stop_from_nobody(tmp_path: Path) -> None:
    safety = SafetyNode(clock=VirtualClock())
    door, asked = tmp_path / "door", asyncio.Semaphore(0)

    async def long(args: Mapping[str, Any], who: str) -> tuple[dict[str, Any] | None, str | None]:
        asked.release()
        await asyncio.sleep(100)
        return {}, None

    async with LocalDoor(door, face(safety), calibration=long):
        asking = [await asyncio.open_unix_connection(door) for _ in range(3)]
        for _, writer in asking:
            writer.write(b'{"do": "calibration"}\n')
            await asked.acquire()
        silent = [await asyncio.open_unix_connection(door) for _ in range(60)]
        answer = await asyncio.to_thread(ask, door, Request("set", "Kim"))
        assert answer.status.mode == safety.mode == "estop"
        for reader, _ in [*asking, *silent[:-15]]:
            assert await asyncio.wait_for(reader.read(), 4) == b"", "those who were there first have gone"
        assert not any(reader.at_eof() for reader, _ in silent[-15:])
        for _, writer in [*asking, *silent]:
            writer.transport.abort()


async def test_door_that_closes_ends_the_requests_that_are_under_way(tmp_path: Path) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def long(args: Mapping[str, Any], who: str) -> tuple[dict[str, Any] | None, str | None]:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return None, None

    path = tmp_path / "door"
    async with asyncio.timeout(10):
        async with LocalDoor(path, face(SafetyNode(clock=VirtualClock())), calibration=long):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b'{"do": "calibration"}\n')
            silent, unheard = await asyncio.open_unix_connection(path)
            await asked.wait()
        assert ended.is_set()
        assert not conversations()
        assert (await reader.read(), await silent.read()) == (b"", b"")
    for one in (writer, unheard):
        one.close()
        await one.wait_closed()
