import gc
import weakref

from botyard.core.garbage import ALL_EACH, EVERY, collecting_seldom
from botyard.testing import VirtualClock


class Knot:
    """Is part of a cycle."""

    def __init__(self) -> None:
        self.me = self


async def test_young_garbage_is_gone_after_half_a_minute_and_old_after_five() -> None:
    clock, before = VirtualClock(), gc.get_threshold()
    async with collecting_seldom(clock):
        old = Knot()
        gc.collect()  # it has lived through this
        gone = [weakref.ref(old), weakref.ref(Knot())]
        del old
        assert [one() is None for one in gone] == [False, False]
        await clock.advance(EVERY)
        assert [one() is None for one in gone] == [False, True]
        await clock.advance(EVERY * ALL_EACH)
        assert [one() is None for one in gone] == [True, True]
    assert gc.get_threshold() == before
