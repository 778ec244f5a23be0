"""Telemetry as it is committed: messages as they came, put together in blocks, until it is compacted.

Taking a message apart costs several times what it takes to keep it, so that happens later and elsewhere: when it is
read, or when the compactor makes chunks of it. Robots are spread over a fixed number of shards: a batch is at most so
many blocks, however many robots it is from, and what one robot sent is found without looking through what all did.

Imported by the helper processes, so: standard library and msgspec only.
"""

from collections.abc import Iterable
from typing import Any
from zlib import crc32

import msgspec

SHARDS = 64


def shard_of(robot: str) -> int:
    """The shard that a robot's telemetry is in. Part of the format of databases: do not change it."""
    return crc32(robot.encode(errors="surrogatepass")) % SHARDS


class HotChannel(msgspec.Struct):
    """As `Channel` of the wire contract."""

    name: str
    values: list[Any]
    type: str = "number"
    unit: str | None = None


class HotGroup(msgspec.Struct):
    """As `Group`."""

    dt: list[int]
    channels: list[HotChannel]


class HotBody(msgspec.Struct):
    """As `Telemetry`."""

    groups: list[HotGroup]


class HotMessage(msgspec.Struct):
    """A telemetry envelope, as far as the store cares."""

    robot: str
    ts: int
    body: HotBody


class Run:
    """The samples of one channel, in the order of their arrival, with the type and unit that were said last."""

    __slots__ = ("times", "type", "unit", "values")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.values: list[Any] = []
        self.type = "number"
        self.unit: str | None = None

    def sort(self) -> None:
        """By time; what has the same time stays in the order of arrival."""
        times = self.times
        if any(map(int.__gt__, times, times[1:])):
            order = sorted(range(len(times)), key=times.__getitem__)
            self.times = [times[i] for i in order]
            self.values = [self.values[i] for i in order]


Runs = dict[str, dict[str, Run]]  # by robot and channel

_block = msgspec.json.Decoder(list[HotMessage])


def runs(blocks: Iterable[bytes]) -> Runs:
    """The samples of some blocks (JSON arrays of messages) by robot and channel, by time. Values are never None."""
    found: Runs = {}
    for block in blocks:
        gather(block, found)
    return in_order(found)


def gather(block: bytes, into: Runs, robots: set[str] | None = None, channels: set[str] | None = None) -> None:
    """Add the samples of one block, of these robots and channels, or of all."""
    for message in _block.decode(block):
        if robots is None or message.robot in robots:
            _take(message, into.setdefault(message.robot, {}), channels)


def in_order(found: Runs) -> Runs:
    """All runs by time, once everything is gathered."""
    for of_robot in found.values():
        for run in of_robot.values():
            run.sort()
    return found


def _take(message: HotMessage, into: dict[str, Run], channels: set[str] | None) -> None:
    ts = message.ts
    for group in message.body.groups:
        times = [ts + dt for dt in group.dt]
        for channel in group.channels:
            name = channel.name
            if channels is not None and name not in channels:
                continue
            values = channel.values
            if None in values:
                kept = [(t, v) for t, v in zip(times, values, strict=True) if v is not None]
                if not kept:
                    continue
                of_channel, values = [t for t, _ in kept], [v for _, v in kept]
            else:
                of_channel = times
            run = into.get(name)
            if run is None:
                run = into[name] = Run()
            run.type, run.unit = channel.type, channel.unit
            if channel.type == "integer":
                values = [int(v) if type(v) is float and v.is_integer() else v for v in values]
            run.times += of_channel
            run.values += values
