"""Bytes to lines, and lines to values as the options tell."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from botyard_edge.driver import Channel, StateChange

# Bytes of a line above which it is taken for noise; NMEA 0183 allows 82, small controllers hold a few hundred.
MAX_LINE = 1024
MAX_INTEGER = 2**53 - 1

_TRUE = frozenset({"1", "true", "on", "yes", "high"})
_FALSE = frozenset({"0", "false", "off", "no", "low"})
_ENDS = re.compile(rb"[\r\n]+")


class UnusableError(Exception):
    """A line cannot be used; `kind` says in two or three words why, to be counted by."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Reading:
    """What one line says: values by channel, and what of the robot's state they tell."""

    values: Mapping[str, Any]
    state: StateChange | None = None


class Decoder(Protocol):
    """What a device's lines mean."""

    @property
    def channels(self) -> Sequence[Channel]: ...

    def decode(self, line: str, now: float) -> Reading | None:
        """What the line says, None for nothing; `now` in seconds of a steady clock. Raises UnusableError."""


class Splitter:
    """Cuts bytes into lines, at CR, LF or both. Empty lines are left out; of a line that is too long, all is."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = b""
        self._skipping = False

    def skip(self) -> None:
        """Leave out everything up to the next end of a line: it may be the second half of one."""
        self._skipping = True

    def feed(self, data: bytes) -> Iterator[bytes | None]:
        """The lines that are complete now; None for one that was too long."""
        *complete, rest = _ENDS.split(self._rest + data)
        for line in complete:
            if self._skipping:
                self._skipping = False
            elif len(line) > self._limit:
                yield None
            elif line:
                yield line
        if len(rest) > self._limit:
            if not self._skipping:
                yield None
            self._skipping, rest = True, b""
        self._rest = rest


@dataclass(frozen=True, slots=True)
class _Field:
    channel: str
    read: Callable[[str], Any]


class LineDecoder:
    """Lines as the option `lines` describes them."""

    def __init__(self, rules: Sequence[Mapping[str, Any]]) -> None:
        self._rules = [(_matcher(rule), [_field(channel) for channel in rule["channels"]]) for rule in rules]
        self.channels = tuple(
            {
                channel["name"]: Channel(channel["name"], channel.get("type", "number"), channel.get("unit"))
                for rule in rules
                for channel in rule["channels"]
                if channel is not None
            }.values()
        )

    def decode(self, line: str, now: float) -> Reading | None:
        del now  # each line stands for itself
        for match, fields in self._rules:
            texts = match(line)
            if texts is None:
                continue
            values = {}
            for field, text in zip(fields, texts, strict=True):
                if field is not None and text:
                    try:
                        values[field.channel] = field.read(text)
                    except ValueError as error:
                        raise UnusableError("a value of another type") from error
            return Reading(values)
        raise UnusableError("not as any entry of lines")


def _matcher(rule: Mapping[str, Any]) -> Callable[[str], Sequence[str | None] | None]:
    if "pattern" in rule:
        pattern = re.compile(rule["pattern"])
        return lambda line: found.groups() if (found := pattern.search(line)) else None
    separator, prefix, count = rule["separator"], rule.get("prefix", ""), len(rule["channels"])

    def split(line: str) -> Sequence[str | None] | None:
        if not line.startswith(prefix):
            return None
        rest = line[len(prefix) :]
        # Between words, any number of blanks is one.
        parts = rest.split() if separator == " " else [part.strip() for part in rest.split(separator)]
        return parts if len(parts) == count else None

    return split


def _field(channel: Mapping[str, Any] | None) -> _Field | None:
    if channel is None:
        return None
    kind = channel.get("type", "number")
    scale, offset = channel.get("scale", 1), channel.get("offset", 0)

    def number(text: str) -> float:
        return float(_number(text) * scale + offset)

    def integer(text: str) -> int:
        return _within(round(_within(int(_digits(text))) * scale + offset))

    reads: dict[str, Callable[[str], Any]] = {"number": number, "integer": integer, "boolean": _boolean, "text": str}
    return _Field(channel["name"], reads[kind])


def _number(text: str) -> float:
    value = float(_digits(text))
    # Sensors write nan and inf for "no value", which is no sample.
    return value if math.isfinite(value) else math.nan


def _digits(text: str) -> str:
    if "_" in text:  # Python reads it within numbers, a device's line with it is broken
        raise ValueError(text)
    return text


def _within(value: int) -> int:
    if abs(value) > MAX_INTEGER:
        raise ValueError(value)
    return value


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in _TRUE and word not in _FALSE:
        raise ValueError(text)
    return word in _TRUE
