"""Which messages an outbox gives up when it must: a policy per type, the same in memory and on disk.

Telemetry goes first, and is thinned before it is dropped: of each interval the last message of each set of channels
stays, with intervals that grow. States that repeat what the one before said, but for position, battery and link, come
next in the same way. Events, reports and changes of the state are the last to go, the oldest first.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from botyard_schemas.messages import Body, State, Telemetry

# Thinning starts with the interval of the settings and goes on with these multiples of it.
COARSER = (1, 6, 60)


class Row(NamedTuple):
    """What the policy looks at; `ts` in microseconds, `size` in bytes. `stream` names what supersedes each other."""

    seq: int
    type: str
    ts: int
    size: int
    stream: int


class Need(NamedTuple):
    """What has to become free."""

    messages: int
    bytes: int


def stream_of(body: Body) -> int:
    """Messages of one stream tell of the same things, so that a later one says more than an earlier one.

    States are of one stream as long as they say the same of all that is not small (see `state`).
    """
    if isinstance(body, State):
        nodes = sorted((name, node.status) for name, node in body.nodes.items())
        told = (body.mode, body.mode_reason, body.health, body.health_reasons, body.busy, body.doing, nodes)
        return zlib.crc32(repr(told).encode())
    if not isinstance(body, Telemetry):
        return 0
    names = sorted(channel.name for group in body.groups for channel in group.channels)
    return zlib.crc32("\n".join(names).encode())


def victims(rows: Callable[[], Iterable[Row]], need: Need, interval: float) -> list[int]:
    """The numbers of the messages to give up, in order.

    `rows()` gives, oldest first, the messages that may be given up; it is called several times. `interval` in seconds.
    """
    chosen: dict[int, int] = {}
    messages, size = need.messages, need.bytes
    for choose in _passes(interval):
        for row in choose(row for row in rows() if row.seq not in chosen):
            if messages <= 0 and size <= 0:
                break
            chosen[row.seq] = row.size
            messages -= 1
            size -= row.size
        if messages <= 0 and size <= 0:
            break
    return sorted(chosen)


def expired(rows: Iterable[Row], before: int) -> list[int]:
    """The numbers of telemetry and of repeated states that were made before a time; `rows` are oldest first."""
    return [row.seq for row in _transient(iter(rows)) if row.ts < before]


_Pass = Callable[[Iterator[Row]], Iterator[Row]]


def _passes(interval: float) -> Iterator[_Pass]:
    for kind in ("telemetry", "state"):
        for factor in COARSER:
            yield _thinning(kind, max(1, int(interval * factor * 1e6)))
        yield _transient_of(kind)
    yield lambda rows: rows


def _transient(rows: Iterator[Row]) -> Iterator[Row]:
    """Telemetry, and states that are no change: what it tells loses its worth with time."""
    state: int | None = None
    for row in rows:
        if row.type == "telemetry":
            yield row
        elif row.type == "state":
            if row.stream == state:
                yield row
            state = row.stream


def _transient_of(kind: str) -> _Pass:
    return lambda rows: (row for row in _transient(rows) if row.type == kind)


def _thinning(kind: str, interval: int) -> _Pass:
    def choose(rows: Iterator[Row]) -> Iterator[Row]:
        last: dict[int, Row] = {}
        for row in _transient_of(kind)(rows):
            before = last.get(row.stream)
            last[row.stream] = row
            if before is not None and before.ts // interval == row.ts // interval:
                yield before

    return choose
