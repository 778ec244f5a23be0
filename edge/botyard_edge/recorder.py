"""Records the bus of a running robot to a file: a listener that frames items, and a node that writes them."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from botyard_edge.blocking import Elsewhere, OwnThread
from botyard_edge.bus import Bus, Item, matches
from botyard_edge.driver import ConfigurationError
from botyard_edge.hubtime import HubClock
from botyard_edge.pulse import UNWATCHED, Silent
from botyard_edge.recording import Begin, Opened, RecordingError, RecordingFile, encode_frame
from botyard_schemas import __version__

log = logging.getLogger(__name__)

# What follows from the rest is left out: samples one by one, and signs of life.
TOPICS = ("**", "!samples/**", "!nodes/*/heartbeat")

# Seconds between two writes, and bytes that may wait for them.
PERIOD = 0.5
MAX_WAITING = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """What is recorded, and where. `topics` are patterns; those with a `!` before them leave something out. `max_size`
    in bytes of the file and its predecessor together."""

    path: Path
    topics: tuple[str, ...] = TOPICS
    max_size: int = 256 * 1024 * 1024


class Recorder:
    """Listens while its `async with` lasts; `run` is the node that writes. What came before the end is in the file."""

    def __init__(
        self,
        settings: RecordSettings,
        robot: str,
        bus: Bus,
        *,
        clock: HubClock,
        elsewhere: Elsewhere | None = None,
        pulse: Silent = UNWATCHED,
    ) -> None:
        self.lost = 0
        self._settings = settings
        self._robot = robot
        self._bus = bus
        self._clock = clock
        self._pulse = pulse
        self._elsewhere: Elsewhere = elsewhere or OwnThread("record")
        self._file = RecordingFile(settings.path, settings.max_size)
        self._wanted = [topic for topic in settings.topics if not topic.startswith("!")]
        self._unwanted = [topic[1:] for topic in settings.topics if topic.startswith("!")]
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._unsaid = 0
        self._refused: set[str] = set()
        self._kept: dict[str, Any] = {}
        self._first: bytes | None = None
        self._written = 0

    async def __aenter__(self) -> Self:
        await self._elsewhere.__aenter__()
        self._first = self._begin()
        self._bus.attach(self)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._bus.detach(self)
        try:
            if self._file.is_open:
                await self._write()
                await self._elsewhere.run(self._file.close)
        except OSError as error:
            log.error("%s: the end of the recording could not be written: %s", self._file.path, error)
        finally:
            await self._elsewhere.__aexit__(*exc)

    def wants(self, topic: str) -> bool:
        return any(matches(one, topic) for one in self._wanted) and not any(
            matches(one, topic) for one in self._unwanted
        )

    def offer(self, item: Item) -> None:
        topic, value = item
        try:
            frame = self._framed(topic, value)  # at once, since whoever published it may go on changing it
        except Exception as error:  # noqa: BLE001 - whatever a value does, it must not stop who published it
            self._lose()
            if topic not in self._refused:
                self._refused.add(topic)
                log.warning("%s is not recorded: %s", topic, error)
            return
        self._keep(topic, value)
        if self._bytes + len(frame) > MAX_WAITING:
            self._lose()
            return
        if self._unsaid:
            frame, self._unsaid = self._framed("", self._unsaid, "lost") + frame, 0
        self._waiting.append(frame)
        self._bytes += len(frame)

    async def run(self, ready: Callable[[], None]) -> None:
        """Write what comes, for ever. Raises OSError when the disk fails, ConfigurationError for a file of others."""
        if not self._file.is_open:
            try:
                begin, self._first = self._first or self._begin(), None
                await self._elsewhere.run(lambda: self._open(begin))
            except RecordingError as error:
                raise ConfigurationError(str(error)) from error
            if self._file.torn:
                log.warning("%s, and is cut off", self._file.torn)
        ready()
        while True:
            await self._write()
            with self._pulse:
                await self._clock.sleep(PERIOD)

    async def _write(self) -> None:
        frames, self._waiting, self._bytes = self._waiting, [], 0
        if not frames:
            return
        begin = self._begin()
        # Once begun it is done to its end, even if nobody waits: what is written next comes after it.
        try:
            await self._elsewhere.run(lambda: self._put(frames, begin))
        except OSError:
            self._lose(len(frames) - self._written)
            raise

    def _open(self, begin: bytes) -> None:
        self._file.open()
        self._begin_part(begin)

    def _begin_part(self, begin: bytes) -> None:
        """Without it what follows could not be understood, so where it cannot be written, nothing is."""
        try:
            self._file.write(begin)
        except OSError:
            with contextlib.suppress(OSError):
                self._file.close()
            raise

    def _put(self, frames: list[bytes], begin: bytes) -> None:
        """In the thread: write the frames, in a new file once this one is full."""
        self._written = 0
        part: list[bytes] = []
        size = 0
        for frame in frames:
            if part and not self._file.fits(size + len(frame)):
                self._file.write(b"".join(part))
                self._written += len(part)
                part, size = [], 0
            if not part and not self._file.fits(len(frame)):
                self._file.turn()
                self._begin_part(begin)
            part.append(frame)
            size += len(frame)
        self._file.write(b"".join(part))
        self._written += len(part)

    def _begin(self) -> bytes:
        """How a file or a part of one begins: who records, and what has to be known of before."""
        begin = Begin(self._robot, f"botyard-edge {__version__}", self._clock.boot, list(self._settings.topics))
        return b"".join([self._framed("", begin), *(self._framed(topic, known) for topic, known in self._kept.items())])

    def _keep(self, topic: str, value: Any) -> None:
        """Keep what a new file could not be understood without."""
        if isinstance(value, Opened):
            self._kept[topic] = value
        elif topic.startswith("state/") and isinstance(value, dict):
            self._kept[topic] = {**self._kept.get(topic, {}), **value}

    def _framed(self, topic: str, value: Any, kind: str | None = None) -> bytes:
        clock = self._clock
        return encode_frame(round(clock.monotonic() * 1e6), clock.now(), topic, value, kind)

    def _lose(self, count: int = 1) -> None:
        self.lost += count
        self._unsaid += count
