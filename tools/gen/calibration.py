"""The tables of the page *Calibration*, from the schema of a profile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from botyard_schemas.calibration import STAMPED, profile_schema
from tools.gen.jsonschema_words import limits
from tools.gen.markdown import code, table


def page(_root: Path) -> str:
    """The fields that people write, those that the robot adds, and a table for each kind of correction."""
    whole = profile_schema()
    fields = whole["properties"]
    parts = [
        _table({key: part for key, part in fields.items() if key not in STAMPED}),
        "The robot itself adds:",
        _table({key: part for key, part in fields.items() if key in STAMPED}),
    ]
    for kind, part in whole["$defs"].items():
        parts += [f"### `{kind}`: {part['title'].lower()} {{ #{kind} }}", part["description"]]
        parts.append(_table({key: one for key, one in part["properties"].items() if key != "kind"}))
    return "\n\n".join(parts)


def _table(fields: dict[str, Any]) -> str:
    return table(("Field", "Meaning", "Unit", "Default", "Example"), list(_rows(fields)))


def _rows(fields: dict[str, Any], path: str = "") -> Iterator[tuple[str, ...]]:
    for key, part in fields.items():
        meaning = " ".join(filter(None, (part["description"], limits(part) if "pattern" not in part else "")))
        default = code(part["default"]) if part.get("default") not in (None, "") else ""
        unit = f"`{part['unit']}`" if "unit" in part else ""
        yield f"`{path}{key}`", meaning, unit, default, code(part["examples"][0])
        yield from _rows(part.get("properties", {}), f"{path}{key}.")
