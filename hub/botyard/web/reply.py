"""Reading requests and writing answers, typed on both sides."""

import datetime as dt
import re
import typing
from typing import Any, TypeVar

import msgspec
from quart import Response, request

from botyard.web.problems import bad

T = TypeVar("T", bound=msgspec.Struct)

LIMIT = 10_000
MICROSECONDS = re.compile(r"-?[0-9]{1,18}")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def reply(body: msgspec.Struct, status: int = 200) -> Response:
    """The body as JSON."""
    return Response(msgspec.json.encode(body), status, content_type="application/json")


def read_query(model: type[T]) -> T:
    """The query string as an instance of the class. Repeatable fields are those whose type is a list.

    Raises ApiError, which names the parameter.
    """
    raw: dict[str, Any] = {}
    fields = {field.encode_name: field for field in msgspec.structs.fields(model)}
    for name in request.args:
        if name not in fields:
            bad(name, f"is no parameter of this request; known are {', '.join(sorted(fields)) or 'none'}")
        values = request.args.getlist(name)
        if _is_list(fields[name].type):
            raw[name] = values
        elif len(values) > 1:
            bad(name, "stands more than once")
        else:
            raw[name] = values[0]
    return _convert(raw, model, strict=False)


async def read_body(model: type[T]) -> T:
    """The JSON body as an instance of the class. Raises ApiError, which names the field."""
    try:
        raw = msgspec.json.decode(await request.get_data())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        bad("body", f"is not JSON: {error}")
    return _convert(raw, model, strict=True)


def _convert(raw: Any, model: type[T], *, strict: bool) -> T:
    try:
        return msgspec.convert(raw, model, strict=strict)
    except msgspec.ValidationError as error:
        sentence, _, path = str(error).partition(" - at `")
        bad(path.strip("`").removeprefix("$").removeprefix(".") or "body", sentence)


def _is_list(annotation: Any) -> bool:
    return typing.get_origin(annotation) is list


def time_of(text: str | None, field: str) -> int | None:
    """A moment as microseconds since 1970: given as such, or as RFC 3339. Raises ApiError."""
    if text is None:
        return None
    if MICROSECONDS.fullmatch(text):
        return int(text)
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        bad(field, f"{text!r} is neither microseconds since 1970 nor a date and time like 2026-05-01T12:00:00Z")
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - EPOCH) // dt.timedelta(microseconds=1)  # exact, as the floating `timestamp()` is not


def limit_of(limit: int) -> int:
    """The page size, checked. Raises ApiError."""
    if not 1 <= limit <= LIMIT:
        bad("limit", f"{limit} is not between 1 and {LIMIT}")
    return limit
