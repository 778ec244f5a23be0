"""What reads out of the database lets others have their turn."""

from collections.abc import AsyncIterator

import msgspec

from botyard.store import reading
from botyard.store.hot import shard_of
from botyard.store.reading import ChunkRow, SeriesRow, Wanted

BLOCKS = 40


class Hot:
    """A source whose data is not compacted yet: a sample of robot r in each block. Notes when it may breathe."""

    def __init__(self) -> None:
        self.breaths = 0

    async def blocks(self, shards: list[int] | None, start: int, end: int) -> list[bytes]:
        body = [{"dt": [0], "channels": [{"name": "x", "values": [1.5]}]}]
        return [
            msgspec.json.encode([{"robot": "r", "ts": n, "body": {"groups": body}}])
            for n in range(BLOCKS)
            if shards is None or shard_of("r") in shards
        ]

    async def chunks(self, robots: list[str] | None, start: int, end: int) -> AsyncIterator[ChunkRow]:
        none: list[ChunkRow] = []
        for row in none:
            yield row

    async def rollups(self, robot: str, width: int, start: int, end: int) -> list[bytes]:
        return []

    async def series(self, robot: str) -> list[SeriesRow]:
        return []

    async def breathe(self) -> None:
        self.breaths += 1


async def test_reading_what_is_not_compacted_pauses_after_each_block() -> None:
    source = Hot()
    found = await reading.samples(source, Wanted(["r"], ["x"], 0, BLOCKS), None, 1000)
    assert [one.ts for one in found] == list(range(BLOCKS))
    assert source.breaths >= BLOCKS


async def test_counting_what_is_not_compacted_pauses_after_each_block() -> None:
    source = Hot()
    assert await reading.counts(source, 0, BLOCKS) == [("r", "x", BLOCKS)]
    assert source.breaths >= BLOCKS
