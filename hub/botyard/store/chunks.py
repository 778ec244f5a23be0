"""Chunks: the samples of several channels of a robot that have the same times, as compressed columns.

Channels that are measured together share their times, which are kept once. `channels` names the columns in their order;
it is kept beside the data, so that whoever looks for a channel need not read what does not hold it.

Imported by the helper processes, so: standard library and msgspec only.
"""

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import msgspec

from botyard.store import columns
from botyard.store.hot import Run

ROWS = 4096  # rows of a chunk at most
VALUES = 1 << 17  # and values, so that a robot with thousands of channels makes no giants
SPAN = 86_400_000_000  # µs from a chunk's first row to its last one, at most; readers rely on it
SMALL = 512  # with fewer rows than this, a chunk waits for others to be merged with

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_json = msgspec.json.Encoder().encode


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """One row of the table `chunk`; times from `start` to `end` in µs, both included."""

    robot: str
    start: int
    end: int
    rows: int
    samples: int
    small: bool
    channels: str
    data: bytes


def encode(robot: str, names: list[str], times: list[int], values: list[list[Any]]) -> Iterator[Chunk]:
    """Chunks of rows in the order of time; `values` has a column for each name. None is a hole."""
    at, most = 0, max(1, min(ROWS, VALUES // max(1, len(names))))
    channels = _json(names).decode()
    while at < len(times):
        end = bisect_right(times, times[at] + SPAN, at, min(at + most, len(times)))
        some = times[at:end]
        parts = [column[at:end] for column in values]
        samples = sum(len(part) - part.count(None) for part in parts)
        data = _pack([columns.encode_times(some), *map(columns.encode, parts)])
        small = end - at < min(SMALL, most) and some[-1] - some[0] < SPAN // 2
        yield Chunk(robot, some[0], some[-1], end - at, samples, small, channels, data)
        at = end


class Decoded:
    """Reads a chunk's columns, each when it is asked for."""

    def __init__(self, data: bytes) -> None:
        times, *self._columns = _unpack(data)
        self.times: list[int] = columns.decode(times)

    def column(self, index: int) -> list[Any]:
        """The values of a column, with None for holes."""
        return columns.decode(self._columns[index])


def of_runs(robot: str, runs: dict[str, Run]) -> Iterator[Chunk]:
    """Chunks of what a robot sent, with the channels together that have the same times."""
    together: dict[tuple[int, int, int, int], list[list[str]]] = {}
    for name in sorted(runs):
        times = runs[name].times
        key = (len(times), times[0], times[-1], sum(times))  # nearly always says it, and is cheap
        for names in together.setdefault(key, []):
            if runs[names[0]].times == times:
                names.append(name)
                break
        else:
            together[key].append([name])
    for several in together.values():
        for names in several:
            yield from encode(robot, names, runs[names[0]].times, [runs[name].values for name in names])
