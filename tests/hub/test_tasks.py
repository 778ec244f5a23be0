"""Tasks that an object owns."""

import asyncio

import pytest

from botyard.core.tasks import Tasks


async def test_tasks_owner_that_fails_gets_its_own_exception_not_a_group() -> None:
    with pytest.raises(KeyError):
        async with Tasks():
            raise KeyError("mine")


async def test_tasks_task_that_fails_ends_its_owner() -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async def own() -> None:
        async with Tasks() as tasks:
            tasks.start(fail(), "failing")
            await asyncio.Event().wait()

    with pytest.raises(ExceptionGroup) as caught:
        await own()
    assert [str(error) for error in caught.value.exceptions] == ["broken"]


async def test_tasks_whole_gives_the_result_and_raises_the_error() -> None:
    async def double(number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return 2 * number

    async with Tasks() as tasks:
        assert await tasks.whole(double(4), "double") == 8
        with pytest.raises(ValueError, match="negative"):
            await tasks.whole(double(-1), "double")


async def test_tasks_whole_goes_on_when_its_caller_is_cancelled_and_is_waited_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go = asyncio.Event()
    done: list[str] = []

    async def work(name: str) -> None:
        await go.wait()
        done.append(name)
        if name == "bad":
            raise ValueError("the disk is full")

    async with Tasks() as tasks:
        callers = [asyncio.create_task(tasks.whole(work(name), name)) for name in ("good", "bad")]
        await asyncio.sleep(0)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        assert done == []
        go.set()
    assert sorted(done) == ["bad", "good"]
    assert "bad failed: the disk is full" in caplog.text
