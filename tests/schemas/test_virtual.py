"""Virtual time: waiting takes none, nothing is late, and the same program runs the same way again."""

import asyncio
import random
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_schemas import virtual
from botyard_schemas.virtual import DeadlockError, LoopClock


def clock() -> LoopClock:
    return LoopClock(asyncio.get_running_loop())


async def sleepers(pauses: list[list[float]]) -> list[tuple[int, int, int]]:
    """Who woke when: its number, which of its pauses it was, and the time of the clock."""
    woke: list[tuple[int, int, int]] = []
    here = clock()

    async def sleeper(number: int) -> None:
        for index, pause in enumerate(pauses[number]):
            await here.sleep(pause)
            woke.append((number, index, here.now() - virtual.START))

    async with asyncio.TaskGroup() as tasks:
        for number in range(len(pauses)):
            tasks.create_task(sleeper(number))
    return woke


def test_a_day_passes_in_no_time() -> None:
    async def main() -> tuple[float, int]:
        here = clock()
        await here.sleep(86_400.0)
        return here.monotonic(), here.now()

    began = time.monotonic()
    assert virtual.run(main()) == (86_400.0, virtual.START + 86_400_000_000)
    assert time.monotonic() - began < 5.0


@given(st.lists(st.lists(st.floats(0, 1e5, allow_nan=False), max_size=5), max_size=6))
def test_sleepers_wake_in_the_order_of_their_time_and_never_early_or_late(pauses: list[list[float]]) -> None:
    woke = virtual.run(sleepers(pauses))
    assert [at for _, _, at in woke] == sorted(at for _, _, at in woke)
    for number, index, at in woke:
        assert abs(at - sum(pauses[number][: index + 1]) * 1e6) <= 1
    assert len(woke) == sum(map(len, pauses))


def test_the_same_program_runs_the_same_way_again() -> None:
    def once() -> list[tuple[int, int, int]]:
        rng = random.Random(7)
        return virtual.run(sleepers([[rng.choice([0.1, 0.2, 0.3]) for _ in range(20)] for _ in range(30)]))

    assert once() == once()


def test_timeouts_of_asyncio_run_out_in_virtual_time() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3600):
                await asyncio.Event().wait()
        return clock().monotonic()

    assert virtual.run(main()) == 3600.0


def test_work_for_threads_is_done_in_the_loop_and_takes_no_time() -> None:
    def work() -> str:
        assert threading.current_thread() is threading.main_thread()
        return "done"

    def mistake() -> None:
        raise ValueError("no")

    async def main() -> tuple[str, float]:
        ticking = asyncio.create_task(clock().sleep(1000.0))
        result = await asyncio.to_thread(work)
        at = clock().monotonic()
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(mistake)
        await ticking
        return result, at

    assert virtual.run(main()) == ("done", 0.0)


def test_program_in_which_nothing_can_happen_any_more_is_an_error_and_no_endless_wait() -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match="nothing is left"):
        virtual.run(main())
