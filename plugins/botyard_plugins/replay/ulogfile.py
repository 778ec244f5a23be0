"""PX4 ULog files, through pyulog, which is imported only when such a file is played."""

import bisect
import math
import re
from pathlib import Path
from typing import Any

from botyard_edge.driver import Channel, Geo, Severity
from botyard_plugins.replay.px4 import CURATED, unit_of
from botyard_plugins.replay.recording import LoggedEvent, Recording, RecordingError, Stream

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_MODULE = re.compile(r"\[([A-Za-z0-9_-]{1,64})\]\s*")
_YEAR_2000 = 946_684_800_000_000
_EXACT = 2**53 - 1
_SEVERITIES: tuple[Severity, ...] = ("critical", "critical", "critical", "error", "warning", "info", "info", "debug")


def load_ulog(path: Path, *, all_topics: bool) -> Recording:
    """Read a file. Raises RecordingError."""
    try:
        from pyulog import ULog
    except ModuleNotFoundError as error:
        raise RecordingError(f"{path}: playing ULog files needs a package: pip install 'botyard[ulog]'") from error
    if not path.is_file():
        raise RecordingError(f"{path}: cannot be read: there is no such file")
    try:
        with path.open("rb") as file:  # pyulog leaves a file of its own open when it fails
            log = ULog(file, None if all_topics else sorted(CURATED))
    except Exception as error:  # pyulog raises whatever a damaged file leads it into
        raise RecordingError(f"{path}: not a ULog file that can be read: {error or type(error).__name__}") from error
    topics = sorted(log.data_list, key=lambda data: (data.name, data.multi_id))
    streams = [_stream(data, log.start_timestamp) for data in topics]
    by_name = {stream.name: stream for stream in streams}
    streams += _derived(by_name)
    return Recording(
        path,
        [stream for stream in streams if stream.ts],
        sorted(_events(log), key=lambda event: event.ts),
        _utc_offset(log.start_timestamp, by_name),
        str(log.msg_info_dict.get("sys_name", "PX4")),
    )


def _stream(data: Any, start: int) -> Stream:
    """One instance of a topic. Its name is `topic`, or `topic.1` from the second instance on."""
    name = data.name if data.multi_id == 0 else f"{data.name}.{data.multi_id}"
    times = data.data["timestamp"].copy()
    times[times == 0] = start  # written when the log began, of a topic that nobody had published yet
    # Loggers write in the order of arrival, which is not quite the order of time.
    order = times.argsort(kind="stable")
    columns: dict[str, list[Any]] = {}
    channels = []
    for field in data.field_data:
        leaf = field.field_name.rsplit(".", 1)[-1]
        if field.field_name == "timestamp" or leaf.startswith("_padding"):
            continue
        column = data.data[field.field_name][order].tolist()
        kind, column = _typed(field.type_str, column)
        channel = f"{name}.{field.field_name}"
        columns[channel] = column
        channels.append(Channel(channel, kind, unit_of(data.name, field.field_name)))
    return Stream(name, times[order].tolist(), columns, channels)


def _typed(kind: str, column: list[Any]) -> tuple[Any, list[Any]]:
    if kind in ("float", "double"):
        return "number", column
    if kind == "bool":
        return "boolean", [bool(value) for value in column]
    if kind in ("uint64_t", "int64_t") and any(abs(value) > _EXACT for value in column):
        return "text", [str(value) for value in column]  # as a JSON number it would lose its last digits
    return "integer", column


def _derived(streams: dict[str, Stream]) -> list[Stream]:
    """`heading` from the attitude's quaternion, and `geo` from the global position with the heading at that time."""
    derived = []
    headings: tuple[list[int], list[float | None]] = ([], [])
    if (attitude := streams.get("vehicle_attitude")) is not None:
        parts = [attitude.columns[f"vehicle_attitude.q[{i}]"] for i in range(4)]
        headings = (attitude.ts, [heading(*q) for q in zip(*parts, strict=True)])
        channel = Channel("heading", "number", "deg", description="Compass heading, from vehicle_attitude.q.")
        derived.append(Stream("heading", attitude.ts, {"heading": list(headings[1])}, [channel]))
    if (position := streams.get("vehicle_global_position")) is not None:
        columns = [position.columns.get(f"vehicle_global_position.{name}") for name in ("lat", "lon", "alt")]
        if all(column is not None for column in columns):
            rows = zip(position.ts, *(column or [] for column in columns), strict=True)
            geos = [_geo(lat, lon, alt, _at(headings, ts)) for ts, lat, lon, alt in rows]
            derived.append(Stream("geo", position.ts, {"geo": geos}, [Channel("geo", "geo")]))
    return derived


def heading(w: float, x: float, y: float, z: float) -> float | None:
    """Degrees clockwise from north of the nose, from a quaternion from the body (FRD) to the world (NED)."""
    yaw = math.degrees(math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))
    return yaw % 360.0 if math.isfinite(yaw) else None


def _geo(lat: float, lon: float, alt: float, course: float | None) -> Geo | None:
    if not (abs(lat) <= 90.0 and abs(lon) <= 180.0):  # also when one is NaN
        return None
    return Geo(lat, lon, alt if math.isfinite(alt) else None, course)


def _at(series: tuple[list[int], list[float | None]], ts: int) -> float | None:
    """The latest value that is not after `ts`."""
    index = bisect.bisect_right(series[0], ts)
    return series[1][index - 1] if index else None


def _events(log: Any) -> list[LoggedEvent]:
    tagged = [message for messages in log.logged_messages_tagged.values() for message in messages]
    return [_event(message) for message in [*log.logged_messages, *tagged]]


def _event(message: Any) -> LoggedEvent:
    text = _ANSI.sub("", message.message).strip()
    level = message.log_level - ord("0")
    module = _MODULE.match(text)
    return LoggedEvent(
        ts=message.timestamp,
        name=f"log.{module[1]}" if module else "log",
        severity=_SEVERITIES[level] if 0 <= level < len(_SEVERITIES) else "info",
        message=text,
        data={"level": message.log_level_str()},
    )


def _utc_offset(start: int, streams: dict[str, Stream]) -> int | None:
    """What to add to the log's times, which count from the start of the autopilot unless a simulator knew better."""
    if start > _YEAR_2000:
        return 0
    for name in ("vehicle_gps_position", "sensor_gps"):
        if (stream := streams.get(name)) is not None:
            for ts, utc in zip(stream.ts, stream.columns.get(f"{name}.time_utc_usec", []), strict=False):
                if isinstance(utc, int) and utc > _YEAR_2000:
                    return utc - ts
    return None
