"""The bus against a model that is as plain as it can be: lists, and a search through all that was published."""

import asyncio
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from botyard_edge.bus import Bus, Item, Overflow, Subscription, SubscriptionEndedError, matches

NAMES = ["a", "b", "c"]
TOPICS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("/".join)
PATTERNS = st.builds(
    lambda parts, rest: "/".join([*parts, "**"] if rest else parts),
    st.lists(st.sampled_from([*NAMES, "*"]), min_size=1, max_size=3),
    st.booleans(),
)


def _means(pattern: list[str], topic: list[str]) -> bool:
    """What a pattern means, told by recursion."""
    if pattern == ["**"]:
        return bool(topic)
    if not pattern or not topic:
        return pattern == topic
    return pattern[0] in ("*", topic[0]) and _means(pattern[1:], topic[1:])


@given(PATTERNS | st.just("**"), TOPICS)
def test_pattern_matches_what_it_means(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) is _means(pattern.split("/"), topic.split("/"))


@pytest.mark.parametrize("pattern", ["", "/a", "a/", "a//b", "**/a", "a*", "a/b*/c", "***"])
def test_pattern_that_could_never_match_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="is no pattern"):
        Bus().subscribe(pattern)


@pytest.mark.parametrize("topic", ["", "a/", "a//b", "a/*", "**"])
def test_topic_that_no_pattern_could_mean_is_refused_and_not_kept(topic: str) -> None:
    bus = Bus()
    with pytest.raises(ValueError, match="is no topic"):
        bus.publish(topic, 1)
    assert bus.topics() == []


async def test_end_of_a_subscription_wakes_who_waits_in_it() -> None:
    bus = Bus()
    with bus.subscribe("a") as subscription:
        waiting = asyncio.create_task(subscription.get())
        heard = asyncio.create_task(_all(subscription))
        await asyncio.sleep(0)
    with pytest.raises(SubscriptionEndedError):
        await waiting
    assert await heard == []


async def _all(subscription: Subscription) -> list[Item]:
    return [item async for item in subscription]


@dataclass
class Model:
    real: Subscription
    pattern: str
    size: int
    overflow: Overflow
    waiting: list[Item] = field(default_factory=list)
    dropped: int = 0

    def offer(self, item: Item) -> None:
        topics = [waiting.topic for waiting in self.waiting]
        if self.overflow is Overflow.LATEST and item.topic in topics:
            self.waiting[topics.index(item.topic)] = item
        elif len(self.waiting) < self.size:
            self.waiting.append(item)
        else:
            self.dropped += 1
            if self.overflow is not Overflow.DROP_NEWEST:
                self.waiting = [*self.waiting[1:], item]


class BusMachine(RuleBasedStateMachine):
    subscriptions = Bundle("subscriptions")

    def __init__(self) -> None:
        super().__init__()
        self.bus = Bus()
        self.latest: dict[str, int] = {}
        self.models: list[Model] = []

    @rule(
        target=subscriptions,
        pattern=PATTERNS | st.just("**"),
        size=st.integers(1, 3),
        overflow=st.sampled_from(Overflow),
    )
    def subscribe(self, pattern: str, size: int, overflow: Overflow) -> Model:
        model = Model(self.bus.subscribe(pattern, size=size, overflow=overflow), pattern, size, overflow)
        self.models.append(model)
        return model

    @rule(topic=TOPICS, value=st.integers())
    def publish(self, topic: str, value: int) -> None:
        self.bus.publish(topic, value)
        self.latest[topic] = value
        for model in self.models:
            if _means(model.pattern.split("/"), topic.split("/")):
                model.offer(Item(topic, value))

    @rule(model=subscriptions)
    def take(self, model: Model) -> None:
        if model.waiting:
            assert _at_once(model.real) == model.waiting.pop(0)

    @rule(model=consumes(subscriptions))
    def end(self, model: Model) -> None:
        self.bus.unsubscribe(model.real)
        self.bus.unsubscribe(model.real)
        self.models = [one for one in self.models if one is not model]
        while model.waiting:
            assert _at_once(model.real) == model.waiting.pop(0), "what waited can still be taken"
        with pytest.raises(SubscriptionEndedError):
            _at_once(model.real)

    @invariant()
    def knows_the_latest_and_counts_losses(self) -> None:
        assert {topic: self.bus.latest(topic) for topic in self.bus.topics()} == self.latest
        assert [model.real.dropped for model in self.models] == [model.dropped for model in self.models]


def _at_once(subscription: Subscription) -> Item:
    """What `get` gives without waiting."""
    getting = subscription.get()
    try:
        getting.send(None)
    except StopIteration as done:
        item: Item = done.value
        return item
    raise AssertionError("it would wait")


TestBus = BusMachine.TestCase
TestBus.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
