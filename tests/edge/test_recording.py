"""The file of a recording: what is written is read, whatever a crash or somebody else did to it."""

import asyncio
import contextlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from botyard_edge.blocking import Inline
from botyard_edge.bus import Bus
from botyard_edge.hubtime import HubClock
from botyard_edge.recorder import Recorder, RecordSettings
from botyard_edge.recording import (
    HEADER,
    MAX_FRAME,
    Begin,
    Columns,
    Frame,
    Reading,
    RecordingError,
    RecordingFile,
    Sample,
    check_recordable,
    encode_frame,
)
from botyard_edge.testing import VirtualClock
from botyard_schemas import Event
from botyard_schemas.messages import NodeState

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMED = st.dictionaries(st.text(max_size=8), PLAIN, max_size=3)
VALUES = (
    PLAIN
    | st.builds(Sample, st.integers(0, 2**53), NAMED)
    | st.builds(Columns, st.lists(st.integers(0, 2**53)), st.dictionaries(st.text(), st.lists(PLAIN), max_size=2))
    | st.builds(Event, st.text(), st.just("info"), st.none() | st.text(), st.integers(-9, 9), NAMED)
    | st.builds(NodeState, st.just("backoff"), st.integers(0, 9), st.text(), st.just("hang"))
)
DEEP = b"\x95\x01\x01\xa1t\xa5plain" + b"\x91" * 20_000 + b"\x00"
ITEMS = st.lists(st.tuples(st.integers(0, 2**53), st.integers(0, 2**53), st.text(), VALUES), max_size=8)


def written(path: Path, *frames: bytes, max_size: int = 10**6) -> RecordingFile:
    file = RecordingFile(path, max_size)
    file.open()
    for frame in frames:
        file.write(frame)
    file.close()
    return file


def read(path: Path) -> tuple[list[Frame], str | None]:
    reading = Reading(path)
    return list(reading), reading.torn


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(items=ITEMS)
def test_recording_gives_back_what_was_written(tmp_path: Path, items: list[Any]) -> None:
    path = tmp_path / "a.bus"
    path.unlink(missing_ok=True)
    written(path, *(encode_frame(*item) for item in items))
    frames, torn = read(path)
    assert [(f.steady, f.now, f.topic, f.value) for f in frames] == items
    assert torn is None


def test_recording_that_a_crash_cut_anywhere_loses_its_last_frame_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.bus"
    one, two, three = (encode_frame(n, n, "t", {"n": n}) for n in (1, 2, 3))
    whole = HEADER + one + two
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        file = written(path, three)
        frames, torn = read(path)
        before = (length >= len(HEADER + one)) + (length >= len(whole))
        assert [f.value["n"] for f in frames] == [*[1, 2][:before], 3]
        assert torn is None
        clean = length <= len(HEADER) or length in (len(HEADER + one), len(whole))
        assert (file.torn is None) == clean


@given(at=st.integers(0, 80), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_damaged_recording_is_read_up_to_the_damage(tmp_path: Path, at: int, bit: int) -> None:
    path = tmp_path / "a.bus"
    frames = [encode_frame(n, n, "topic", "value") for n in range(4)]
    content = bytearray(HEADER + b"".join(frames))
    place = len(HEADER) + at % (len(content) - len(HEADER))
    content[place] ^= 1 << bit
    path.write_bytes(content)
    good, torn = read(path)
    before = (place - len(HEADER)) // len(frames[0])
    assert [f.steady for f in good] == list(range(before))
    assert torn == (
        f"{path}: its last {len(content) - good_end(frames, before)} bytes (from byte {good_end(frames, before)}) are "
        "torn, as a crash leaves them; everything before counts"
    )


def good_end(frames: list[bytes], count: int) -> int:
    return len(HEADER) + sum(len(frame) for frame in frames[:count])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "this is no recording of a robot's bus"),
        (b"robot: r1\n", "this is no recording of a robot's bus"),
        (b"botyard-bus 12\n", "it was recorded in version 12, and this edge reads up to 1"),
        (
            HEADER + encode_frame(1, 1, "acme/x", 5, "acme"),
            "'acme/x' has a value of the unknown type 'acme',",
        ),
        (HEADER + encode_frame(1, 1, "x", "many", "lost"), "byte 14: this is no frame of a recording: Expected `int`"),
    ],
)
def test_file_that_is_no_recording_is_refused_in_a_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "a.bus"
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        list(Reading(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_file_of_others_is_never_written_to(tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text("robot: r1\n")
    with pytest.raises(RecordingError, match="this is no recording"):
        check_recordable(path)
    with pytest.raises(RecordingError, match="this is no recording"):
        RecordingFile(path, 10**6).open()
    assert path.read_text() == "robot: r1\n"


def test_frame_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="are more than"):
        encode_frame(1, 1, "t", "x" * MAX_FRAME)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(payload=st.binary(min_size=1, max_size=80) | ITEMS.map(msgspec.msgpack.encode) | st.just(DEEP))
def test_frame_of_anything_is_read_or_refused_in_a_sentence(tmp_path: Path, payload: bytes) -> None:
    path = tmp_path / "a.bus"
    path.write_bytes(HEADER + struct.pack("<II", len(payload), zlib.crc32(payload)) + payload)
    with contextlib.suppress(RecordingError):
        assert all(isinstance(frame, Frame) for frame in Reading(path))


class FullDisk(io.FileIO):
    """Refuses what has `refused` at its beginning."""

    refused: bytes | None = None

    def write(self, data: Any) -> int:
        if FullDisk.refused is not None and FullDisk.refused in bytes(data)[:64]:
            raise OSError(28, "No space left on device")
        return super().write(data)


BEGIN = encode_frame(0, 0, "", Begin("r1", "botyard-edge", "b", ["**"]))


@pytest.mark.parametrize("refused", [HEADER, b"\xa5begin", b""], ids=["header", "begin", "all"])
async def test_disk_that_is_full_while_a_new_file_begins_leaves_none_that_cannot_be_read(
    refused: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botyard_edge.recording.io.FileIO", FullDisk)
    monkeypatch.setattr(FullDisk, "refused", None)
    path, bus, clock = tmp_path / "r.bus", Bus(), VirtualClock()
    settings = RecordSettings(path, max_size=6000)

    async def run(recorder: Recorder, value: str) -> "asyncio.Task[None]":
        task = asyncio.create_task(recorder.run(lambda: None))
        for _ in range(20):
            bus.publish("x/y", value * 100)
        await clock.advance(1.1)
        return task

    async with Recorder(settings, "r1", bus, clock=HubClock(clock, "b"), elsewhere=Inline()) as recorder:
        (await run(recorder, "a")).cancel()
        FullDisk.refused = refused
        task = await run(recorder, "b")
        assert task.done()
        assert isinstance(task.exception(), OSError)
        FullDisk.refused = None
        (await run(recorder, "c")).cancel()
    frames, torn = read(path)
    assert torn is None
    assert frames[0].type == "begin", "what it holds can be understood"
    assert frames[-1].value == "c" * 100
    written(path, BEGIN)


def test_recording_without_its_first_line_is_read_and_gone_on_with(tmp_path: Path) -> None:
    frame = encode_frame(1, 2, "x", "y")
    path = tmp_path / "r.bus"
    path.write_bytes(frame + frame[:-1])
    check_recordable(path)
    written(path, frame)
    assert [one.value for one in read(path)[0]] == ["y", "y"]
