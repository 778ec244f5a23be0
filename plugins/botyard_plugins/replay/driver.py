"""The driver `replay`: a recorded file, played as if it were the robot."""

import asyncio
from pathlib import Path
from typing import Any, Self

from botyard_edge.driver import (
    About,
    Battery,
    Capabilities,
    ConfigurationError,
    Driver,
    DriverContext,
    Port,
    StateChange,
)
from botyard_plugins.replay.csvfile import load_csv
from botyard_plugins.replay.recording import Recording, RecordingError, Slice, Stream, slices
from botyard_plugins.replay.ulogfile import load_ulog

SLICE = 0.1  # s between two moments at which samples are published
FAST_SLICE = 1_000_000  # us of recording that are published at once at full speed


class ReplayDriver(Driver):
    """Publishes everything in the file once, or again and again; nothing of it is given up."""

    def __init__(self, context: DriverContext) -> None:
        super().__init__(context)
        speed = context.options["speed"]
        self._speed: float | None = None if speed == "max" else float(speed)
        self._recorded = context.options["start"] == "recorded"
        self._loop = bool(context.options["loop"])

    async def __aenter__(self) -> Self:
        if self._loop and self._recorded:
            raise ConfigurationError("loop: true with start: recorded would send the same times again and again")
        if self._loop and self._speed is None:
            raise ConfigurationError("loop: true with speed: max would never end; give a speed in numbers")
        try:
            # Reading a long log takes seconds, which the robot's other parts need not wait for.
            self._recording = await asyncio.to_thread(_load, self.context.folder, self.context.options)
        except RecordingError as error:
            raise ConfigurationError(str(error)) from error
        if self._recording.empty:
            raise ConfigurationError(f"{self._recording.path}: there is nothing to play in it")
        if self._recorded and self._recording.utc_offset is None:
            raise ConfigurationError(
                f"{self._recording.path}: its times do not count from 1970 and nothing in it tells the date; "
                "use start: now"
            )
        return self

    @property
    def capabilities(self) -> Capabilities:
        channels = tuple(channel for stream in self._recording.streams for channel in stream.channels)
        about = About(type="replay", model=self._recording.model)
        return Capabilities(channels, lossless=True, about=about)

    async def run(self, port: Port) -> None:
        name = self._recording.path.name
        while True:
            port.update_state(busy=True, doing=f"replaying {name}")
            await self._play(port)
            await port.flush()  # whoever hears the event finds every sample before it
            port.update_state(busy=False, doing=f"replayed {name}")
            await port.event("replay.finished", "info", f"{name} was played to its end", data=self._counts())
            if not self._loop:
                return

    async def _play(self, port: Port) -> None:
        clock, recording = self.context.clock, self._recording
        origin, scale = self._mapping()
        width = FAST_SLICE if self._speed is None else max(1, round(SLICE * self._speed * 1e6))
        began = clock.monotonic()
        for part in slices(recording, width):
            if self._speed is not None:
                due = began + (min(part.end, recording.last) - recording.first) / self._speed / 1e6
                if (wait := due - clock.monotonic()) > 0:
                    await clock.sleep(wait)
            else:
                await asyncio.sleep(0)  # a full-speed replay lets the others work between two slices
            await self._publish(port, part, origin, scale)

    async def _publish(self, port: Port, part: Slice, origin: int, scale: float) -> None:
        first = self._recording.first

        def mapped(ts: int) -> int:
            return origin + (ts - first if scale == 1.0 else round((ts - first) * scale))

        for stream, begin, end in part.rows:
            times = [mapped(ts) for ts in stream.ts[begin:end]]
            columns = {name: column[begin:end] for name, column in stream.columns.items()}
            await port.publish_columns(times, columns)
            port.update_state(**_state(stream, end - 1))
        for event in part.events:
            await port.event(event.name, event.severity, event.message or None, data=event.data, ts=mapped(event.ts))

    def _mapping(self) -> tuple[int, float]:
        """Where the first sample lies in time now, and by how much distances in time are stretched."""
        recording = self._recording
        if self._recorded:
            return recording.first + (recording.utc_offset or 0), 1.0
        if self._speed is None:
            return self.context.clock.now() - (recording.last - recording.first), 1.0
        return self.context.clock.now(), 1.0 / self._speed

    def _counts(self) -> dict[str, Any]:
        streams = self._recording.streams
        return {
            "file": self._recording.path.name,
            "samples": sum(stream.samples for stream in streams),
            "channels": sum(len(stream.channels) for stream in streams),
            "events": len(self._recording.events),
            "topics": {stream.name: len(stream.ts) for stream in streams},
        }


def _state(stream: Stream, row: int) -> StateChange:
    """The parts of the state that a row of PX4 topics tells."""
    columns = stream.columns
    if stream.name == "geo" and (geo := columns["geo"][row]) is not None:
        return {"geo": geo}
    if stream.name == "battery_status" and "battery_status.remaining" in columns:
        level = columns["battery_status.remaining"][row]
        if 0.0 <= level <= 1.0:
            voltage = columns.get("battery_status.voltage_v", [None] * (row + 1))[row]
            current = columns.get("battery_status.current_a", [None] * (row + 1))[row]
            # PX4 writes -1 for a current that is not measured.
            return {"battery": Battery(level, voltage, current if current is None or current >= 0.0 else None)}
    return {}


def _load(folder: Path, options: Any) -> Recording:
    path = folder / options["file"]
    kind = options["format"]
    if kind == "auto":
        kind = {".ulg": "ulog", ".ulog": "ulog", ".csv": "csv"}.get(path.suffix.lower(), "")
    if kind == "ulog":
        return load_ulog(path, all_topics=options["topics"] == "all")
    if kind == "csv":
        return load_csv(path)
    raise RecordingError(f"{path}: {path.suffix or 'no ending'} tells no format, expected .ulg or .csv, or give format")
