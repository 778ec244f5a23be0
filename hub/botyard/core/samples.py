"""Samples as the parts of the hub hand them on: by channel, with absolute times."""

from typing import Any, NamedTuple

from botyard_schemas.messages import Telemetry, ValueType


class Column(NamedTuple):
    """Samples of one channel; `ts` (µs since 1970) and `values` have the same length, and no value is None."""

    robot: str
    channel: str
    type: ValueType
    unit: str | None
    ts: list[int]
    values: list[Any]


def columns_of(robot: str, at: int, body: Telemetry) -> list[Column]:
    """The samples of a message of the time `at` (µs since 1970) by channel, without the gaps."""
    columns = []
    for group in body.groups:
        times = [at + dt for dt in group.dt]
        for channel in group.channels:
            ts, values = times, channel.values
            if None in values:
                kept = [(t, value) for t, value in zip(times, values, strict=True) if value is not None]
                ts, values = [t for t, _ in kept], [value for _, value in kept]
            if values:
                columns.append(Column(robot, channel.name, channel.type, channel.unit, ts, values))
    return columns
