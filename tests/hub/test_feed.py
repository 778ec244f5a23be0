"""What waits for one client of the live feed: bounded, coalesced, and counted where something is left out."""

from botyard.store.base import Column
from botyard.web.feed import MAX_EVENTS, MAX_FAULTS, MAX_SAMPLES, Client
from botyard.web.models import EventView


def event(n: int) -> EventView:
    return EventView(id=n, ts=n, robot=None, actor="hub", name="n", severity="info")


def column(robot: str, count: int, channel: str = "x") -> Column:
    return Column(robot, channel, "number", None, list(range(count)), [0.0] * count)


def test_client_keeps_the_newest_events_and_counts_the_others() -> None:
    client = Client()
    for n in range(MAX_EVENTS + 50):
        client.add_event(event(n))
    assert [kept.id for kept in client.events] == list(range(50, MAX_EVENTS + 50))
    assert client.skipped == 50
    assert client.dirty.is_set()


def test_client_joins_samples_of_a_channel_and_keeps_channels_apart() -> None:
    client = Client()
    client.watch(["r"])
    client.add_samples("r", [column("r", 2), column("r", 1, "y")])
    client.add_samples("r", [column("r", 3)])
    assert client.samples["r"]["x"].ts == [0, 1, 0, 1, 2]
    assert client.samples["r"]["y"].ts == [0]


def test_client_does_not_touch_the_columns_that_go_to_the_store() -> None:
    client = Client()
    client.watch(["r"])
    first = column("r", 2)
    client.add_samples("r", [first])
    client.add_samples("r", [column("r", 3)])
    assert first == column("r", 2)


def test_client_skips_samples_when_too_many_wait_and_counts_them() -> None:
    client = Client()
    client.watch(["r"])
    for _ in range(12):
        client.add_samples("r", [column("r", MAX_SAMPLES // 10)])
    assert client.sample_count == MAX_SAMPLES
    assert client.skipped_samples == {"r": 2 * (MAX_SAMPLES // 10)}


def test_client_that_watches_others_forgets_what_it_does_not_watch_any_more() -> None:
    client = Client()
    client.watch(["a", "b"])
    client.add_samples("a", [column("a", MAX_SAMPLES - 10)])
    client.add_samples("b", [column("b", 10), column("b", 7)])
    client.watch(["b"])
    assert set(client.samples) == {"b"}
    assert client.sample_count == 10
    assert client.skipped_samples == {"b": 7}
    client.watch([])
    assert (client.samples, client.sample_count, client.skipped_samples) == ({}, 0, {})


def test_client_that_only_sends_rubbish_costs_little() -> None:
    client = Client()
    for n in range(1000):
        client.complain(f"fault {n}")
        client.ping()
    assert len(client.faults) == MAX_FAULTS
