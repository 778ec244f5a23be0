"""From what was written to a draft: checked against the schema, typed, and sound."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import msgspec

from botyard_edge.calibration.sound import problems
from botyard_edge.driver import Found
from botyard_schemas.calibration import Draft, draft_schema
from botyard_schemas.validation import field_path, first_error


class CalibrationError(ValueError):
    """A calibration is not taken over, and the robot goes on with what it had. The sentence names what is wrong."""


def read_draft(written: Mapping[str, Any], *, root: str = "") -> Draft:
    """The draft. `root` is what it is called where it came from. Raises CalibrationError."""
    compiled = jsonschema_rs.Draft202012Validator(draft_schema(written))
    if wrong := first_error(compiled, dict(written), root=root):
        raise CalibrationError(wrong)
    draft, found = typed(written)
    if draft is None or found:
        keys, said = found[0]
        path = field_path([root, *keys] if root else list(keys))
        raise CalibrationError(f"{path}: {said}")
    return draft


def typed(written: Mapping[str, Any]) -> tuple[Draft | None, list[Found]]:
    """The draft from what keeps the schema, and all that is wrong with it nevertheless."""
    given = dict(written)
    if isinstance(until := given.get("valid_until"), str):
        try:
            given["valid_until"] = _moment(until)
        except ValueError:
            return None, [(("valid_until",), f"{until!r} is no date, expected one such as 2027-03-01")]
    try:
        draft = msgspec.convert(given, Draft)
    except msgspec.ValidationError as error:
        return None, [((), str(error))]
    return draft, problems(draft)


def _moment(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1e6)
