import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from botyard_edge.bus import Bus, Item, Overflow, Subscription, matches


@pytest.mark.parametrize(
    ("pattern", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/c", False),
        ("a/*", "a/b", True),
        ("a/*", "a/b/c", False),
        ("*/b", "a/b", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("**", "a", True),
        ("*/b/**", "a/b/c/d", True),
        ("*/b/**", "a/c/c/d", False),
    ],
)
def test_pattern_of_a_subscription_matches_segments(pattern: str, topic: str, expected: bool) -> None:
    assert matches(pattern, topic) is expected


def _waiting(subscription: Subscription) -> list[object]:
    return [item.value for item in subscription._items]


@given(st.lists(st.integers()), st.integers(1, 5))
def test_full_subscription_keeps_the_newest_and_counts_the_rest(values: list[int], size: int) -> None:
    bus = Bus()
    with bus.subscribe("t", size=size) as subscription:
        for value in values:
            bus.publish("t", value)
        assert _waiting(subscription) == values[-size:]
        assert subscription.dropped == max(0, len(values) - size)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_full_subscription_that_drops_the_newest_keeps_the_oldest(values: list[int], size: int) -> None:
    bus = Bus()
    with bus.subscribe("t", size=size, overflow=Overflow.DROP_NEWEST) as subscription:
        for value in values:
            bus.publish("t", value)
        assert _waiting(subscription) == values[:size]
        assert subscription.dropped == max(0, len(values) - size)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers())))
def test_subscription_to_the_latest_holds_one_item_per_topic(publications: list[tuple[str, int]]) -> None:
    bus = Bus()
    with bus.subscribe("*", size=3, overflow=Overflow.LATEST) as subscription:
        for topic, value in publications:
            bus.publish(topic, value)
        assert {item.topic: item.value for item in subscription._items} == dict(publications)
        assert subscription.dropped == 0


async def test_bus_knows_the_latest_value_and_wakes_who_waits() -> None:
    bus = Bus()
    with bus.subscribe("samples/**") as subscription:
        waiting = asyncio.create_task(subscription.get())
        await asyncio.sleep(0)
        bus.publish("samples/base/a", 1)
        bus.publish("other", 2)
        assert await waiting == Item("samples/base/a", 1)
    assert bus.latest("other") == 2
    assert bus.latest("nothing", "none") == "none"


def test_subscription_that_ended_gets_nothing_more() -> None:
    bus = Bus()
    subscription = bus.subscribe("t")
    bus.unsubscribe(subscription)
    bus.unsubscribe(subscription)
    bus.publish("t", 1)
    assert _waiting(subscription) == []
