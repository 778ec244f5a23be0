"""When telemetry is compacted, and what happens when it cannot be."""

import logging
from typing import Self

import pytest

from botyard.store.base import Block, StoreError
from botyard.store.upkeep import AGE, MERGE_PERIOD, PERIOD, RETRY, Upkeep
from botyard.testing import VirtualClock

BROKEN, SOUND = 1, 2


class Shelf:
    """A database with two shards, of which one cannot be compacted. Notes what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.left = {BROKEN: 1, SOUND: 1}

    async def hot(self, shard: int, _most: int) -> bytes:
        self.asked.append(f"hot {shard}")
        return str(shard).encode() if self.left[shard] else b""

    async def mergeable(self, _gathered: int, _settled: int, _most: int) -> bytes:
        self.asked.append("merge")
        return b""

    async def carry_out(self, plan: bytes) -> None:
        self.left[int(plan)] = 0

    async def give_back(self) -> bool:
        return False


class Compactor:
    """Cannot decode the blocks of the broken shard."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def ask(self, _op: str, body: bytes = b"") -> bytes:
        if int(body) == BROKEN:
            raise StoreError("telemetry cannot be compacted: a block is damaged")
        return body

    async def change(self, op: str, body: bytes) -> bytes:
        return await self.ask(op, body)


async def test_shard_that_cannot_be_compacted_holds_nothing_else_up(caplog: pytest.LogCaptureFixture) -> None:
    clock, shelf = VirtualClock(), Shelf()
    async with Upkeep(shelf, clock, Compactor) as upkeep:
        upkeep.note([Block(shard, 0, 0, 1, b"[{}]") for shard in (BROKEN, SOUND)])
        await clock.advance(AGE + PERIOD)
        assert shelf.left == {BROKEN: 1, SOUND: 0}
        assert "merge" in shelf.asked
        assert upkeep.waiting == (1, 4)

        shelf.asked.clear()
        await clock.advance(RETRY - 2 * PERIOD)
        assert shelf.asked.count(f"hot {BROKEN}") == 0
        await clock.advance(MERGE_PERIOD + 2 * PERIOD)
        assert shelf.asked.count(f"hot {BROKEN}") in (1, 2)
        assert "merge" in shelf.asked
    said = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert said == ["telemetry is not compacted: telemetry cannot be compacted: a block is damaged; trying again"]
