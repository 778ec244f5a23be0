"""Edges and hubs that are killed at random moments, with the outbox on a real disk."""

import itertools
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.processes import HubProcess, Running, wait_until

SEED = 20261121
KILLS = 6


def robot(hub: HubProcess, durability: str) -> dict[str, Any]:
    return {
        "robot": "sim-1",
        "drivers": {"sim": {}},
        "link": {"url": hub.broker_url, "reconnect_max": 0.5, "resend_after": 1.0},
        "outbox": {"durability": durability, "group_interval": 0.2},
    }


def samples(hub: HubProcess) -> int:
    return int(hub.get("hub")["counters"].get("samples", 0))


def more_samples(hub: HubProcess, than: int) -> bool:
    return samples(hub) > than


def backlog(hub: HubProcess) -> int | None:
    link = hub.get("robots/sim-1/state")["state"].get("link") or {}
    return link.get("backlog")


@pytest.mark.parametrize("durability", ["group", "each"])
def test_edge_and_hub_killed_at_random_moments_double_nothing_and_lose_only_what_they_say(
    durability: str, start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running], tmp_path: Path
) -> None:
    dice = random.Random(SEED)
    print(f"seed {SEED}")
    hub = start_hub()
    settings = robot(hub, durability)
    edge = start_edge(settings)
    wait_until(lambda: samples(hub) > 20, "samples come in")
    for number in range(KILLS):
        if number % 3 == 1:  # an outage, in which the outbox fills and the edge is killed
            hub.kill()
        time.sleep(dice.uniform(0.2, 1.5))
        edge.kill()
        edge = start_edge(settings)
        if number % 3 == 1:
            time.sleep(dice.uniform(1.0, 2.5))
            hub.start()
        seen = samples(hub)
        wait_until(partial(more_samples, hub, seen), "samples come in again")
    assert (tmp_path / "state" / "sim-1.outbox.db").exists()
    assert edge.stop() == 0, edge.output()
    assert "Traceback" not in edge.output()
    assert "messages are left" not in edge.output().splitlines()[-1], "the last edge delivered everything"

    readings = hub.all_items("readings", robot="sim-1", limit=5000)
    times = Counter((item["channel"], item["ts"]) for item in readings)
    assert not [key for key, count in times.items() if count > 1], "a sample is there twice"
    assert len({item["channel"] for item in readings}) > 5
    events = hub.all_items("events", robot="sim-1", name="outbox", limit=500)
    lost = [event for event in events if event["name"] == "outbox.dropped"]
    assert {event["data"]["reason"] for event in lost} == {"cut off"}
    assert len({event["data"]["epoch"] for event in lost}) == 1, "one outbox, one epoch"
    assert len(lost) == KILLS, "each kill is told, once"


@pytest.mark.parametrize("way", ["mqtt", "websocket"])
def test_edge_killed_during_an_outage_delivers_what_was_on_its_disk(
    way: str, start_hub: Callable[..., HubProcess], start_edge: Callable[..., Running]
) -> None:
    hub = start_hub()
    settings = robot(hub, "each")
    if way == "websocket":
        settings["link"]["url"] = f"ws://127.0.0.1:{hub.port}"
    edge = start_edge(settings)
    wait_until(lambda: samples(hub) > 20, "samples come in")
    hub.kill()
    outage = time.time_ns() // 1000
    time.sleep(3.0)
    killed = time.time_ns() // 1000
    edge.kill()
    start_edge(settings)
    hub.start()
    wait_until(lambda: samples(hub) > 0 and backlog(hub) is not None and (backlog(hub) or 0) < 5, "it has caught up")

    def stamps() -> list[int]:
        force = hub.all_items("readings", robot="sim-1", channel="gripper.force", limit=5000)
        return sorted(item["ts"] for item in force if outage <= item["ts"] <= killed)

    # Ten a second, but for the batch that was being filled when the edge was killed.
    wait_until(lambda: len(stamps()) >= (killed - outage) / 100_000 - 8, "what was measured in the outage is there")
    during = stamps()
    gaps = [later - earlier for earlier, later in itertools.pairwise(during)]
    assert max(gaps) < 250_000
