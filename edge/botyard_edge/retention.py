"""Which messages an outbox gives up when it must: a policy per type, the same in memory and on disk.

Telemetry goes first, and is thinned before it is dropped: of each interval the last message of each set of channels
stays, with intervals that grow. States come next in the same way. Events and reports are the last to go.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from botyard_schemas.messages import Body, Telemetry

# Thinning starts with the interval of the settings and goes on with these multiples of it.
COARSER = (1, 6, 60)


class Row(NamedTuple):
    """What the policy looks at; `ts` in microseconds, `size` in bytes. `stream` names what supersedes each other."""

    seq: int
    type: str
    ts: int
    size: int
    stream: int


def is_transient(row: Row) -> bool:
    """Whether what it tells loses its worth with time."""
    return row.type in ("telemetry", "state")


class Need(NamedTuple):
    """What has to become free."""

    messages: int
    bytes: int


def stream_of(body: Body) -> int:
    """Messages of one stream tell of the same things, so that a later one says more than an earlier one."""
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


_Pass = Callable[[Iterator[Row]], Iterator[Row]]


def _passes(interval: float) -> Iterator[_Pass]:
    for kind in ("telemetry", "state"):
        for factor in COARSER:
            yield _thinning(kind, max(1, int(interval * factor * 1e6)))
        yield _all(kind)
    yield _all("event", "report")


def _thinning(kind: str, interval: int) -> _Pass:
    def choose(rows: Iterator[Row]) -> Iterator[Row]:
        last: dict[int, Row] = {}
        for row in rows:
            if row.type != kind:
                continue
            before = last.get(row.stream)
            last[row.stream] = row
            if before is not None and before.ts // interval == row.ts // interval:
                yield before

    return choose


def _all(*kinds: str) -> _Pass:
    return lambda rows: (row for row in rows if row.type in kinds)
