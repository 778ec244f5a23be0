"""The file that a robot's bus is recorded to: how it is written, and how it is read.

Format, version 1::

    file  = "botyard-bus 1\\n" frame*
    frame = length crc payload          length, crc: unsigned 32 bit, little endian; crc: CRC-32 (IEEE 802.3) of payload
    payload = MessagePack array [steady, now, topic, type, value]

`steady` and `now` are microseconds of the robot's steady clock and of its estimate of the hub's. A frame of type
`begin` (topic "") opens each part that was written by one process: its steady clock has nothing to do with that of the
part before. A frame of type `lost` says how many items could not be recorded there. All others are items of the bus;
how the value of each type looks is in `TYPES`.

A file is only ever appended to. A crash leaves a frame that is too short or whose checksum is wrong at the end: readers
say so and use everything before, writers cut it off and go on.
"""

import errno
import io
import os
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from botyard_edge.driver import Channel
from botyard_schemas.messages import About, Event, NodeState

VERSION = 1
_SIGNATURE = re.compile(rb"botyard-bus (\d{1,9})\n")
HEADER = b"botyard-bus %d\n" % VERSION
_PREFIX = struct.Struct("<II")

# Bytes of a frame at most; a longer one is not written, and a length beyond is a sign of damage.
MAX_FRAME = 16 * 1024 * 1024


class RecordingError(Exception):
    """A file is no recording that can be used; the sentence names the file and says why."""


class Opened(msgspec.Struct, frozen=True):
    """A driver is open (`drivers/<name>/opened`): what it can say."""

    channels: tuple[Channel, ...]
    lossless: bool
    about: About


class Sample(msgspec.Struct, frozen=True):
    """A driver published samples of one instant (`drivers/<name>/sample`)."""

    ts: int
    values: dict[str, Any]


class Columns(msgspec.Struct, frozen=True):
    """A driver published samples of many instants (`drivers/<name>/columns`)."""

    ts: list[int]
    columns: dict[str, list[Any]]


class Begin(msgspec.Struct, frozen=True):
    """Who recorded what follows."""

    robot: str
    software: str
    boot: str
    topics: list[str]


# Types of values by their names in the file. `plain` is whatever MessagePack can hold.
TYPES: dict[str, Any] = {
    "begin": Begin,
    "lost": int,
    "opened": Opened,
    "sample": Sample,
    "columns": Columns,
    "event": Event,
    "node": NodeState,
    "plain": Any,
}
_NAMES: dict[type, str] = {kind: name for name, kind in TYPES.items() if isinstance(kind, type) and kind is not int}


class Frame(NamedTuple):
    """One frame; `at` is where it stands in the file."""

    steady: int
    now: int
    topic: str
    type: str
    value: Any
    at: int = 0


def _as_plain(value: object) -> Any:
    """Numbers and texts of other makers, such as NumPy's, as Python's own."""
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if callable(item := getattr(value, "item", None)):
        return item()
    raise TypeError(f"a {type(value).__name__} cannot be recorded")


_encoder = msgspec.msgpack.Encoder(enc_hook=_as_plain)
_decoder = msgspec.msgpack.Decoder(tuple[int, int, str, str, msgspec.Raw])


def encode_frame(steady: int, now: int, topic: str, value: Any, kind: str | None = None) -> bytes:
    """One frame with its prefix. Raises TypeError, ValueError or OverflowError for what cannot be recorded."""
    payload = _encoder.encode((steady, now, topic, kind or _NAMES.get(type(value), "plain"), value))
    if len(payload) > MAX_FRAME:
        raise ValueError(f"{len(payload)} bytes are more than the {MAX_FRAME} of a frame")
    return _PREFIX.pack(len(payload), zlib.crc32(payload)) + payload


class Reading:
    """The frames of a file, once, in their order. After the last one `torn` says whether something could not be read,
    and `end` is where the good part ends. Blocking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.torn: str | None = None
        self.end = 0

    def __iter__(self) -> Iterator[Frame]:
        """Raises RecordingError, also for a value of an unknown type."""
        for at, payload in self.payloads():
            yield self._frame(at, payload)

    def payloads(self) -> Iterator[tuple[int, bytes]]:
        """Place and content of each frame, not looked into. Raises RecordingError when the file is no recording."""
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                self.end = _check_header(self.path, file)
                while (payload := _payload(file)) is not None:
                    at, self.end = self.end, file.tell()
                    yield at, payload
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be read: {error.strerror}") from error
        if size > self.end:
            self.torn = (
                f"{self.path}: its last {size - self.end} bytes (from byte {self.end}) are torn, as a crash leaves "
                "them; everything before counts"
            )

    def _frame(self, at: int, payload: bytes) -> Frame:
        try:
            steady, now, topic, kind, raw = _decoder.decode(payload)
            if kind not in TYPES:
                raise RecordingError(
                    f"{self.path}: byte {at}: {topic!r} has a value of the unknown type {kind!r}, known are "
                    f"{', '.join(TYPES)}; a newer edge may have recorded it"
                )
            return Frame(steady, now, topic, kind, msgspec.msgpack.decode(raw, type=TYPES[kind]), at)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RecordingError(f"{self.path}: byte {at}: this is no frame of a recording: {error}") from error


def check_recordable(path: Path) -> None:
    """Raises RecordingError when the file exists and is something else than a recording, which must not be touched."""
    try:
        if path.exists() and path.stat().st_size > 0 and not _only_begun(path):
            with path.open("rb") as file:
                _check_header(path, file)
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error


def _only_begun(path: Path) -> bool:
    """Whether a crash came before the first line was whole."""
    with path.open("rb") as file:
        return HEADER.startswith(file.read(len(HEADER) + 1))


def _check_header(path: Path, file: BinaryIO) -> int:
    line = file.read(len(HEADER) + 8).partition(b"\n")[0] + b"\n"
    found = _SIGNATURE.fullmatch(line)
    if found is None:
        file.seek(0)
        if _payload(file) is not None:  # it begins with a whole frame: its first line could not be written
            file.seek(0)
            return 0
        raise RecordingError(f"{path}: this is no recording of a robot's bus, it does not begin with 'botyard-bus'")
    if int(found[1]) > VERSION:
        raise RecordingError(f"{path}: it was recorded in version {int(found[1])}, and this edge reads up to {VERSION}")
    file.seek(len(line))
    return len(line)


def _payload(file: BinaryIO) -> bytes | None:
    """The next frame's content; None at the end of what is good."""
    prefix = file.read(_PREFIX.size)
    if len(prefix) < _PREFIX.size:
        return None
    length, crc = _PREFIX.unpack(prefix)
    if not 0 < length <= MAX_FRAME:
        return None
    payload = file.read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == crc else None


class RecordingFile:
    """A recording that is written. With its predecessor `<name>.1` it takes at most `max_size` bytes: when it holds
    half of them it takes the predecessor's place, and a new one is begun. Blocking."""

    def __init__(self, path: Path, max_size: int) -> None:
        self.path = path
        self.torn: str | None = None
        self._half = max_size // 2
        self._size = 0
        self._file: io.FileIO | None = None

    def open(self) -> None:
        """Go on at the end of the file, or begin it; a torn end is cut off. Raises OSError and RecordingError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists() and self.path.stat().st_size > 0 and not _only_begun(self.path):
            reading = Reading(self.path)
            for _ in reading.payloads():
                pass
            self.torn = reading.torn
            self._file = io.FileIO(self.path, "r+")
            self._file.truncate(reading.end)
            self._size = self._file.seek(reading.end)
        else:
            self._begin()

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def fits(self, size: int) -> bool:
        """Whether so many bytes more find room without a new file."""
        return self._size + size <= self._half

    def write(self, data: bytes) -> None:
        """Append whole frames. What a failure leaves half written is taken back, if that can be. Raises OSError."""
        file = self._file
        if file is None:
            raise OSError(errno.EBADF, "the recording is closed")
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(self._size)
            file.seek(self._size)
            raise
        self._size += len(data)

    def turn(self) -> None:
        """Put the file in its predecessor's place, and begin a new one. Raises OSError."""
        self.close()
        self.path.replace(self.path.with_name(self.path.name + ".1"))
        self._begin()

    def close(self) -> None:
        """Have everything on the disk. Raises OSError."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                os.fsync(file.fileno())
            finally:
                file.close()

    def _begin(self) -> None:
        self._file = io.FileIO(self.path, "w")
        self._size = 0
        try:
            self.write(HEADER)
        except OSError:
            # Not open: what is written next would come to stand in a file without its first line.
            file, self._file = self._file, None
            file.close()
            raise
