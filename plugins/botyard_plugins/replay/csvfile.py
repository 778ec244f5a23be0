"""CSV files: the first column is the time, every other one a channel. A header is `name` or `name [unit]`."""

import csv
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botyard_edge.driver import Channel
from botyard_plugins.replay.recording import Recording, RecordingError, Stream

_HEADER = re.compile(r"\s*(?P<name>[^\[\]]*(?:\[\d+\])?[^\[\]]*?)\s*(?:\[(?P<unit>[^\[\]]*)\])?\s*")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\[\]-]{0,127}")
_SCALES = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": 0.001}
_YEAR_2000 = 946_684_800_000_000


def load_csv(path: Path) -> Recording:
    """Read a file. Raises RecordingError, whose sentence has file and line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, None)
            if not header or len(header) < 2:
                raise RecordingError(f"{path}:1: expected a header with a time and at least one channel")
            lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordingError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if not lines:
        raise RecordingError(f"{path}: there are no rows")
    for number, row in lines:
        if len(row) != len(header):
            raise RecordingError(f"{path}:{number}: {len(row)} cells, the header has {len(header)}")
    times, since_1970 = _times(path, header[0], lines)
    order = sorted(range(len(times)), key=times.__getitem__)
    names = _names(path, header[1:])
    columns: dict[str, list[Any]] = {}
    channels: list[Channel] = []
    for index, (name, unit) in enumerate(names, 1):
        kind, convert = _column_type([row[index] for _, row in lines])
        cells = (lines[at][1][index].strip() for at in order)
        columns[name] = [convert(cell) if cell else None for cell in cells]
        channels.append(Channel(name, kind, unit))  # type: ignore[arg-type]
    stream = Stream(path.stem, [times[at] for at in order], columns, channels)
    return Recording(path, [stream], utc_offset=0 if since_1970 else None)


def _names(path: Path, header: list[str]) -> list[tuple[str, str | None]]:
    names: list[tuple[str, str | None]] = []
    for number, text in enumerate(header, 2):
        match = _HEADER.fullmatch(text)
        name = re.sub(r"\s+", "_", match["name"].strip()) if match else ""
        if match is None or not _NAME.fullmatch(name):
            raise RecordingError(
                f"{path}:1: column {number}: {text!r} is not a channel name, "
                "expected letters, digits, '_', '-' and '.', and a unit in [ ]"
            )
        if any(name == other for other, _ in names):
            raise RecordingError(f"{path}:1: column {number}: {name!r} stands twice")
        unit = (match["unit"] or "").strip()
        if len(unit) > 32:
            raise RecordingError(f"{path}:1: column {number}: the unit {unit!r} is longer than 32 characters")
        names.append((name, unit or None))
    return names


def _times(path: Path, header: str, lines: list[tuple[int, list[str]]]) -> tuple[list[int], bool]:
    """The times in microseconds, and whether they count from 1970."""
    match = _HEADER.fullmatch(header)
    unit = (match["unit"] or "").strip() if match else ""
    if unit and unit not in _SCALES and unit.lower() != "iso":
        raise RecordingError(f"{path}:1: the unit of the time is {unit!r}, expected s, ms, us, ns or ISO")
    convert: Callable[[str], int]
    if unit in _SCALES:
        scale = _SCALES[unit]
        convert = lambda cell: _scaled(cell, scale)  # noqa: E731
    else:
        convert = _iso
    times = []
    for number, row in lines:
        try:
            times.append(convert(row[0].strip()))
        except (ValueError, OverflowError) as error:
            wanted = f"a number of {unit}" if unit in _SCALES else "a time such as 2024-03-18T14:49:10.346Z"
            hint = "" if unit else "; for numbers write the unit into the header, such as 'time [s]'"
            raise RecordingError(f"{path}:{number}: {row[0]!r} is not {wanted}{hint}") from error
    return times, min(times) > _YEAR_2000


def _scaled(cell: str, scale: float) -> int:
    # Whole numbers stay exact: a float of nanoseconds since 1970 would not.
    return round(int(cell) * scale) if cell.lstrip("-").isdigit() and scale >= 1 else round(float(cell) * scale)


def _iso(cell: str) -> int:
    moment = datetime.fromisoformat(cell)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _column_type(cells: list[str]) -> tuple[str, Callable[[str], Any]]:
    filled = {cell.strip() for cell in cells} - {""}
    if filled and all(cell.lower() in ("true", "false") for cell in filled):
        return "boolean", lambda cell: cell.lower() == "true"
    try:
        for cell in filled:
            float(cell)
    except ValueError:
        return "text", str
    return "number", float
