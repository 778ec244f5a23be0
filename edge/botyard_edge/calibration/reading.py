"""Profiles and samples from files, so that a mistake is told with file and line."""

import math
import re
from pathlib import Path

from botyard_edge.calibration.draft import typed
from botyard_schemas import settings
from botyard_schemas.calibration import Draft, draft_schema
from botyard_schemas.settings import SettingsError
from botyard_schemas.validation import field_path

PREFIX = "BOTYARD_CALIBRATION"
LARGEST = 4_000_000  # bytes of a file of samples


def read_profile(path: Path) -> Draft:
    """The draft in a YAML or JSON file. Raises SettingsError."""
    raw = settings.load(path, {}, environ={}, prefix=PREFIX)
    loaded = settings.load(path, draft_schema(raw), environ={}, prefix=PREFIX)
    draft, found = typed(loaded)
    if draft is None or found:
        places = [(settings.locate(path, keys), field_path(list(keys)), said) for keys, said in found]
        raise SettingsError([": ".join(filter(None, place)) for place in places])
    return draft


def located(path: Path, refusal: str) -> str:
    """What a robot said of a profile, with the place in the file that it is about."""
    words, _, _ = refusal.partition(": ")
    keys = tuple(words.split("."))
    return f"{settings.locate(path, keys)}: {refusal}" if keys[0] in Draft.__struct_fields__ else f"{path}: {refusal}"


def read_samples(path: Path, columns: tuple[str, ...]) -> list[tuple[float, ...]]:
    """Rows of numbers: columns with a header that names them, in any order, else in the order that is expected.
    Separated by commas, semicolons, tabs or spaces; `#` begins a comment. Raises SettingsError."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LARGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        detail = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError([f"{path}: cannot be read: {detail}"]) from error
    if len(text) > LARGEST:
        raise SettingsError([f"{path}: is too large, at most {LARGEST:,} bytes are read"])
    order: list[int] | None = None
    rows: list[tuple[float, ...]] = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in re.split(r"[,;\t]|(?<=\S) +(?=\S)", line.partition("#")[0].strip())]
        if cells == [""]:
            continue
        if order is None:
            order = _order(cells, columns, f"{path}:{number}")
            if not _is_number(cells[0]):
                continue
        rows.append(_row(cells, order, columns, f"{path}:{number}"))
    return rows


def _order(cells: list[str], columns: tuple[str, ...], where: str) -> list[int]:
    if _is_number(cells[0]):
        return list(range(len(columns)))
    if missing := [name for name in columns if name not in cells]:
        raise SettingsError([f"{where}: there is no column {missing[0]!r}, expected {', '.join(columns)}"])
    return [cells.index(name) for name in columns]


def _row(cells: list[str], order: list[int], columns: tuple[str, ...], where: str) -> tuple[float, ...]:
    if len(cells) <= max(order):
        raise SettingsError([f"{where}: has {len(cells)} values, expected {', '.join(columns)}"])
    for name, at in zip(columns, order, strict=True):
        if not _is_number(cells[at]):
            raise SettingsError([f"{where}: {name}: {cells[at]!r} is no finite number"])
    return tuple(float(cells[at]) for at in order)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
